"""What a server tells Prometheus (docs/metrics.md): what it does, and what is in its database."""
