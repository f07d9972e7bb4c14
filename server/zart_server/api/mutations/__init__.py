"""The one path of mutating calls, one by one or several in one transaction."""
