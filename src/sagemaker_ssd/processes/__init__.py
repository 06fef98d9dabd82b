"""Child processes: started, watched, and their end explained. Needs no MXNet."""
