"""What a server keeps at hand of the database, and forgets with its history."""
