"""Parameters from elsewhere as values for this program's networks: a module for each source, `conversion` for all."""
