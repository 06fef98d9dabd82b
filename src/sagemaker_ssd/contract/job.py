"""Reads a whole job, all faults of all files together."""

from dataclasses import dataclass
from pathlib import Path

from sagemaker_ssd.contract.channels import DataChannel, read_channels
from sagemaker_ssd.contract.checkpoint_config import read_checkpoints
from sagemaker_ssd.contract.cluster import Cluster, read_cluster
from sagemaker_ssd.contract.findings import Findings
from sagemaker_ssd.contract.hyperparameter_file import read_hyperparameters
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.paths import Paths
from sagemaker_ssd.contract.several_hosts import check_several_hosts
from sagemaker_ssd.contract.weight_channels import WeightChannels, check_start
from sagemaker_ssd.contract.weight_store import StoredWeights, required_weights
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
    paths, findings = Paths(base), Findings()
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
    hyperparameters: Hyperparameters | None, channels: WeightChannels, checkpoints: Path | None, findings: Findings
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
