"""`sample` and `layout`."""
