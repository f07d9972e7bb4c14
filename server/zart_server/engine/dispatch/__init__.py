"""The dispatch path: what is ready is enqueued, leased, reported."""
