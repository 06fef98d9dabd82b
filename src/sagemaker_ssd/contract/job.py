"""Reads a whole job from the platform's files, checked and typed, with all faults of all files together."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sagemaker_ssd.contract.channels import (
    Channels,
    DataChannel,
    WeightChannels,
    check_use_pretrained_model,
    read_channels,
)
from sagemaker_ssd.contract.cluster import Cluster, read_cluster
from sagemaker_ssd.contract.config_file import Diagnostics
from sagemaker_ssd.contract.environment import JOB_NAME_VARIABLE
from sagemaker_ssd.contract.hyperparameter_file import read_hyperparameters
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.paths import (
    HYPERPARAMETERS_FILE,
    INPUT_DATA_CONFIG_FILE,
    Paths,
    read_checkpoint_folder,
)
from sagemaker_ssd.contract.weights import StoredWeights, required_weights
from sagemaker_ssd.errors import UserError, problems

# The files that make an epoch's arrays a checkpoint, as the checkpoints' own package names them.
_CHECKPOINTS: Final = "sagemaker-ssd-*.json"


@dataclass(frozen=True)
class Job:
    """What the job is: everything that the platform's files say, checked and typed.

    provided: the hyperparameters' strings as they were given. weights: the installed ones that it starts from, None
    where it starts from something else. checkpoints: their folder, None for a job without. notices: for the log.
    """

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
    paths, diagnostics = Paths(base), Diagnostics()
    provided, hyperparameters = read_hyperparameters(paths, diagnostics)
    cluster = read_cluster(paths, diagnostics)
    several_hosts = cluster is not None and cluster.several
    channels = read_channels(paths, diagnostics, several_hosts=several_hosts)
    check_use_pretrained_model(channels.weights, provided, diagnostics)
    if cluster is not None and several_hosts:
        _check_several_hosts(cluster, hyperparameters, channels, diagnostics)
    checkpoints = read_checkpoint_folder(paths, diagnostics)
    if checkpoints is not None and hyperparameters is not None and hyperparameters.tuning_objective_metric:
        # All trials of a tuning job have one CheckpointConfig, so each needs a folder of its own in it; one that is
        # interrupted and started again has the same name.
        above, checkpoints = checkpoints, checkpoints / os.environ.get(JOB_NAME_VARIABLE, "")
        if checkpoints != above and any(above.glob(_CHECKPOINTS)):
            diagnostics.notices.append(
                f"{HYPERPARAMETERS_FILE} has _tuning_objective_metric, as a trial of a tuning job: checkpoints go to "
                f"{checkpoints}, and those in {above} are left alone; to go on from them, leave it out"
            )
    weights = _find_weights(hyperparameters, channels.weights, checkpoints, diagnostics)
    if diagnostics.faults or hyperparameters is None or cluster is None:
        raise UserError(problems(diagnostics.faults))
    if hyperparameters.kv_store is not None and not cluster.several:
        diagnostics.notices.append(f"kv_store is '{hyperparameters.kv_store}', which is not applicable on one host")
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
        notices=tuple(diagnostics.notices),
    )


def _check_several_hosts(
    cluster: Cluster,
    hyperparameters: Hyperparameters | None,
    channels: Channels,
    diagnostics: Diagnostics,
) -> None:
    """Add the faults of a job on several hosts; None: what could not be read has its own faults."""
    hosts = len(cluster.hosts)
    if hyperparameters is not None and hyperparameters.kv_store is None:
        diagnostics.faults.append(
            f"{HYPERPARAMETERS_FILE}: kv_store is not set, and the job has {hosts} hosts: set it to dist_sync (all "
            "hosts make each step together, with the mean of their gradients) or dist_async (each host's updates count "
            "as they come), or set instance_count to 1"
        )
    validation = channels.data.get("validation")
    diagnostics.faults.extend(
        f"{INPUT_DATA_CONFIG_FILE}: {name}: S3DistributionType is ShardedByS3Key; on {hosts} hosts it must be "
        f"FullyReplicated, because {cluster.hosts[0]} alone computes the mAP, on the whole channel"
        for name in (() if validation is None else validation.sharded_channels)
    )
    diagnostics.faults.extend(
        f"{INPUT_DATA_CONFIG_FILE}: {name}: S3DistributionType is ShardedByS3Key; on {hosts} hosts it must be "
        "FullyReplicated, because every host starts from the file in it"
        for name in channels.weights.sharded
    )


def _find_weights(
    hyperparameters: Hyperparameters | None,
    channels: WeightChannels,
    checkpoints: Path | None,
    diagnostics: Diagnostics,
) -> StoredWeights | None:
    """Find the installed weights that the job starts from; None with a fault, and for a job that needs none.

    A job with a checkpoint needs them only if that turns out to be of no use, which is an error then.
    """
    if hyperparameters is None or not hyperparameters.use_pretrained_model or channels != WeightChannels():
        return None
    try:
        return required_weights(hyperparameters.base_network)
    except UserError as error:
        if checkpoints is None or not any(checkpoints.glob(_CHECKPOINTS)):
            diagnostics.faults.append(error.sentence)
        return None
