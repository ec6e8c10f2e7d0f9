"""What surrounds a tuning run: checkpoints, processes, memory, previews."""
