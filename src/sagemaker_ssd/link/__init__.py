"""What the supervisors of a job's hosts say to one another; needs no MXNet."""
