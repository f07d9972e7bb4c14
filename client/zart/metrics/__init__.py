"""What the processes of zart tell Prometheus."""
