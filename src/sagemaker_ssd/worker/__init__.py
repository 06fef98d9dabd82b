"""The program that trains: everything that needs MXNet runs in this process."""
