"""The files of a model: written as the built-in writes them, and read with nothing in them trusted."""
