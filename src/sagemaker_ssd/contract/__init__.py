"""What SageMaker's training contract says about a job, checked and typed. Needs no MXNet."""
