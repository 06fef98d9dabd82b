"""How the supervisors of a job's hosts meet, watch one another and agree how the job ends. Needs no MXNet."""
