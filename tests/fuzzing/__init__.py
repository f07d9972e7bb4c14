"""Requests at the bounds of their fields, and requests made at random, from the descriptors."""
