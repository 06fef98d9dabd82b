"""The tool that installs pre-trained weights beside the program."""
