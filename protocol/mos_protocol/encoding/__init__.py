"""Canonical bytes: one encoding for each value, any other is refused."""
