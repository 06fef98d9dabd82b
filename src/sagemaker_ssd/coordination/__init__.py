"""What the supervisors of a job's hosts say to one another. Needs no MXNet."""
