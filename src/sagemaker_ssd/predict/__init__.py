"""The command that detects objects in images with a saved model."""
