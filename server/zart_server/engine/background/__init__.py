"""What a server does although nobody calls."""
