"""Pictures and captions as a training set."""
