"""Bases: pipelines of diffusers, their files and what concepts may train in them."""
