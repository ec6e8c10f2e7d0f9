"""Concepts and fused models: in memory, on disk, and applied to a base."""
