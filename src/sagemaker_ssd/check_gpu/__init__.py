"""check-gpu: tries this machine's cards, one after the other and together, and says in a table what holds."""
