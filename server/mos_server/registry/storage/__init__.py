"""The registry's database and its tables."""
