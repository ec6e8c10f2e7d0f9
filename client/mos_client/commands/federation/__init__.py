"""Commands that deal with the centre."""
