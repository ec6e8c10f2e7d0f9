"""A whole federation on one machine, on Flower's simulation engine."""
