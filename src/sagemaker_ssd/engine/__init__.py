"""Training and evaluation: what happens between the first batch and the last epoch."""
