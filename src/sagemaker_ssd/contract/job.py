"""Reads a whole job, all faults of all files together.

What a job on several hosts needs beside what every job needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from sagemaker_ssd.contract.channels import FILE as CHANNELS
from sagemaker_ssd.contract.channels import DataChannel, WeightChannels, check_start, read_channels
from sagemaker_ssd.contract.cluster import Cluster, read_cluster
from sagemaker_ssd.contract.config_file import ConfigFindings
from sagemaker_ssd.contract.hyperparameter_file import FILE as HYPERPARAMETERS
from sagemaker_ssd.contract.hyperparameter_file import read_hyperparameters
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.paths import Paths, read_checkpoints
from sagemaker_ssd.contract.weights import StoredWeights, required_weights
from sagemaker_ssd.errors import UserError, problems


@dataclass(frozen=True)
class Job:
    """What the job is: everything that the platform's files say, checked and typed."""

    hyperparameters: Hyperparameters
    provided: dict[str, str]
    train: DataChannel
    validation: DataChannel
    model_channel: Path | None
    pretrained_channel: Path | None
    weights: StoredWeights | None
    cluster: Cluster
    checkpoints: Path | None
    paths: Paths
    notices: tuple[str, ...]


def read_job(base: Path) -> Job:
    """Read the job below `base`, which SageMaker puts at /opt/ml; raises UserError with every fault of every file."""
    paths, findings = Paths(base), ConfigFindings()
    provided, hyperparameters = read_hyperparameters(paths, findings)
    channels = read_channels(paths, findings)
    check_start(channels.weights, provided, findings)
    cluster = read_cluster(paths, findings)
    if cluster is not None and cluster.several:
        check_several_hosts(cluster, hyperparameters, channels.data, findings)
    checkpoints = read_checkpoints(paths, findings)
    weights = _weights(hyperparameters, channels.weights, checkpoints, findings)
    if findings.faults or hyperparameters is None or cluster is None:
        raise UserError(problems(findings.faults))
    if hyperparameters.kv_store is not None and not cluster.several:
        findings.notices.append(f"kv_store is '{hyperparameters.kv_store}', which is not applicable on one host")
        # The built-in's artifacts of one host have kv_store device.
        hyperparameters = hyperparameters.model_copy(update={"kv_store": None})
    return Job(
        hyperparameters=hyperparameters,
        provided=provided,
        train=channels.data["train"],
        validation=channels.data["validation"],
        model_channel=channels.weights.model,
        pretrained_channel=channels.weights.pretrained,
        weights=weights,
        cluster=cluster,
        checkpoints=checkpoints,
        paths=paths,
        notices=tuple(findings.notices),
    )


def _weights(
    hyperparameters: Hyperparameters | None,
    channels: WeightChannels,
    checkpoints: Path | None,
    findings: ConfigFindings,
) -> StoredWeights | None:
    """Find the installed weights that the job starts from; None with a fault, and for a job that needs none.

    A job with a checkpoint needs them only if that turns out to be of no use, which is told then.
    """
    if hyperparameters is None or not hyperparameters.use_pretrained_model or channels != WeightChannels(None, None):
        return None
    try:
        return required_weights(hyperparameters.base_network)
    except UserError as error:
        if checkpoints is None or not any(checkpoints.glob("sagemaker-ssd-*.json")):
            findings.faults.append(error.sentence)
        return None


def check_several_hosts(
    cluster: Cluster, hyperparameters: Hyperparameters | None, data: Mapping[str, DataChannel], findings: ConfigFindings
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
            f"{CHANNELS}: validation: S3DistributionType is ShardedByS3Key; on {hosts} hosts it must be "
            f"FullyReplicated, because {cluster.hosts[0]} alone computes the mAP, on the whole channel"
        )
