"""`tune` and what belongs to it."""
