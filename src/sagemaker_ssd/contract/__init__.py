"""What SageMaker's training contract says about a job, checked and typed. Needs no MXNet."""

from sagemaker_ssd.contract.channels import DataChannel
from sagemaker_ssd.contract.cluster import Cluster
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.job import Job, read_job
from sagemaker_ssd.contract.paths import Paths
from sagemaker_ssd.contract.table import hyperparameter_table

__all__ = [
    "Cluster",
    "DataChannel",
    "Hyperparameters",
    "Job",
    "Paths",
    "hyperparameter_table",
    "read_job",
]
