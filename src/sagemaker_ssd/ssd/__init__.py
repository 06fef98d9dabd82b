"""The SSD networks as MXNet symbols: trunk, heads, losses, detection, the graphs made of them, starting values."""
