"""One function for each RPC: its arguments to a ``Call``, which any channel can send.

The asynchronous and the synchronous client and the CLI share them; a call knows its method, its
request, and how to read the answer.
"""
