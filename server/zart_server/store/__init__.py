"""Speaks SQL: one statement per function, each says what it locks."""
