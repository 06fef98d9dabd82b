"""Starting the worker, watching it, and saying in a sentence how it ended."""
