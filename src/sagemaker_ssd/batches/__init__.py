"""Batches of pixels and labels from a checked channel, and which images each host trains on."""
