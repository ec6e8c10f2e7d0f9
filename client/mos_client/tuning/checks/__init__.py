"""Checks before a run starts and after it ends."""
