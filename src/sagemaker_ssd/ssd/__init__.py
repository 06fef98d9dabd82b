"""The networks: trunks, heads, targets, losses, detection, and the graphs made of them."""
