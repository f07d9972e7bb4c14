"""The dispatch path: ready steps are enqueued, tasks leased, outcomes reported."""
