"""A checkpoint's life: its two files, writing, retention, search and resuming."""
