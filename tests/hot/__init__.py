"""Hot statements: what runs each of them, in which states of the statistics, and how it is judged.

``scenario`` adds to the one list (``listed``); ``complete`` holds it complete.
"""
