"""The program behind `train`: checks the job, runs the worker, and says how it ended. It never imports MXNet."""
