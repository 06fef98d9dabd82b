"""The command that installs pre-trained weights for the program."""
