"""Batches: their rows, what they select, their items, and what became of these."""
