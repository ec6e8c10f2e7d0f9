"""Commands that read and write concept files."""
