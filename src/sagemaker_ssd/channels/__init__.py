"""A channel's files or stream, checked and packed into one RecordIO file."""
