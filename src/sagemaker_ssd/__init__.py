"""An open, drop-in replacement for SageMaker's built-in Object Detection algorithm."""
