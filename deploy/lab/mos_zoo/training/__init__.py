"""The training loop of the mini bases, its data, checkpoints and optimiser."""
