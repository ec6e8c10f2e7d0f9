"""What the project does on a GPU, in one table; see `__main__`."""
