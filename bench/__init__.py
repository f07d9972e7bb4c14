"""Measures the shipped product, side by side with peers and with the physical limit."""
