"""Items that no training data holds: what a training gained and lost on them, against the adapter that it started from."""
