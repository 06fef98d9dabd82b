"""Saved and training networks that detect, and the figures of their detections."""
