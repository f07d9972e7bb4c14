"""Breakers as they are stored: their rows, what they count, and how they change state."""
