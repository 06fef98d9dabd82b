"""The files that a job leaves behind."""
