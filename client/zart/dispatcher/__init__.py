"""The dispatcher: leases queued tasks, runs their handlers, reports what became of them.

It is an ordinary client of DispatchService and knows nothing else of the server.
"""
