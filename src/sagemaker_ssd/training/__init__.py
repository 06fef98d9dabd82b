"""A network in training: its devices, updates, schedule and epochs."""
