"""Saved models that detect, without a training."""
