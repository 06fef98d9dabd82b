"""What a job on several hosts needs beside what every job needs."""

from collections.abc import Mapping

from sagemaker_ssd.contract.channels import FILE, DataChannel
from sagemaker_ssd.contract.cluster import Cluster
from sagemaker_ssd.contract.findings import Findings
from sagemaker_ssd.contract.hyperparameter_file import FILE as HYPERPARAMETERS
from sagemaker_ssd.contract.hyperparameters import Hyperparameters


def check_several_hosts(
    cluster: Cluster, hyperparameters: Hyperparameters | None, data: Mapping[str, DataChannel], findings: Findings
) -> None:
    """Add the faults of a job on several hosts; None: what could not be read has its own faults."""
    hosts = len(cluster.hosts)
    if hyperparameters is not None and hyperparameters.kv_store is None:
        findings.faults.append(
            f"{HYPERPARAMETERS}: kv_store is not set, and the job has {hosts} hosts: set it to dist_sync (all hosts "
            "make each step together, with the mean of their gradients) or dist_async (each host's updates count as "
            "they come), or set instance_count to 1"
        )
    validation = data.get("validation")
    if validation is not None and validation.sharded:
        findings.faults.append(
            f"{FILE}: validation: S3DistributionType is ShardedByS3Key; on {hosts} hosts it must be FullyReplicated, "
            f"because {cluster.hosts[0]} alone computes the mAP, on the whole channel"
        )
