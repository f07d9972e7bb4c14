"""Pause rules: what they match, and the steps that they withhold."""
