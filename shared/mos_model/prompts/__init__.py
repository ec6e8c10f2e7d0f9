"""Prompts: tokens, encodings, one encoding per cross-attention block."""
