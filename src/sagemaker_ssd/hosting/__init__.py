"""The child process of hosting: detects with MXNet what the front sends it."""
