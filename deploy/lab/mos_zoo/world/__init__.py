"""The procedural world of illustrations that the mini base is trained on."""
