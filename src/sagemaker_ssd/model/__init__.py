"""The networks: their graphs, anchors and starting values."""
