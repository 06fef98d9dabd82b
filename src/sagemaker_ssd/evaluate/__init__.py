"""The command that scores a saved model on a channel."""
