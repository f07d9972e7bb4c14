"""The work that a server does without a call."""
