"""The laboratory: simulation, demo and evaluation, above client and server."""
