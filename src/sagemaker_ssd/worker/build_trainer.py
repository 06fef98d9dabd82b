"""The trainer that the job's hyperparameters ask for: frozen layers, devices, number format, parameter server."""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

import mxnet as mx

from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.collectives import ProcessGroup
from sagemaker_ssd.contract.environment import HOSTS_VARIABLE, read_deadlines
from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.errors import PlatformError, UserError, in_words
from sagemaker_ssd.gpu import unseen
from sagemaker_ssd.ssd.graphs import training_graph
from sagemaker_ssd.ssd.initial_values import fixed_gammas
from sagemaker_ssd.ssd.network import Frozen, Network, layer, layers
from sagemaker_ssd.ssd.number_formats import can_compute_bfloat16, time_convolutions
from sagemaker_ssd.training.optimizer import OptimizerSettings
from sagemaker_ssd.training.schedule import ServerSchedule
from sagemaker_ssd.training.trainer import Trainer
from sagemaker_ssd.training.updates import DistributedKVStore, connect, is_asynchronous
from sagemaker_ssd.worker.initial_weights import fresh_layers, starts_from_scratch

_log = logging.getLogger(__name__)
# The first layers of each network, as a pattern to freeze.
_FIRST_LAYERS: Final = {"vgg-16": "^(conv1_|conv2_).*", "resnet-50": "^(bn_data|conv0|bn0|stage1_).*"}
_NO_KERNELS: Final = "has a CPU without AVX512, on which MXNet has no bfloat16"


def build_trainer(
    hyperparameters: Hyperparameters,
    network: Network,
    train: RecordFile,
    devices: Sequence[mx.Context],
    batch_size: int,
    schedule: ServerSchedule,
    group: ProcessGroup,
    *,
    precision_dtype: str,
    start: Mapping[str, Any],
) -> Trainer:
    """Bind the network on every device and, on several hosts, join the parameter server.

    batch_size: of this host. schedule: for dist_async. precision_dtype: of `training_precision`.
    start: where the training began, of `InitialWeights`. Raises UserError when nothing is left to train.
    """
    frozen = freeze(network, hyperparameters.freeze_layer_pattern, start)
    fresh = fresh_layers(start)
    graph = training_graph(
        network,
        empty_images=train.images_without_objects > 0,
        frozen=frozen,
        precision_dtype=precision_dtype,
    )
    store = None
    if hyperparameters.kv_store:
        store = _join_parameter_server(hyperparameters.kv_store, devices, group)
    return Trainer(
        graph,
        devices,
        OptimizerSettings(
            hyperparameters.optimizer,
            hyperparameters.learning_rate,
            hyperparameters.momentum,
            hyperparameters.weight_decay,
            hyperparameters.clip_gradient,
            fresh=frozenset(name for name in network.arguments() if layer(name) in fresh),
        ),
        batch_size=batch_size,
        image_shape=hyperparameters.image_shape,
        max_objects=train.label_objects,
        # A BatchNorm scale that the graph fixes at 1 is frozen in every training.
        frozen=frozen.arguments | fixed_gammas(graph),
        store=store,
        schedule=schedule if is_asynchronous(store) else None,
    )


def frozen_by(network: Network, pattern: str | None) -> Frozen:
    """Return what freeze_layer_pattern freezes; raises UserError if it is everything."""
    frozen, trainable = network.freeze(pattern), network.arguments()
    if frozen.arguments == trainable:
        raise UserError(
            f"freeze_layer_pattern {pattern!r} matches all {len(trainable)} parameters: nothing is left to train; "
            f"write a pattern for the layers to freeze, such as {_FIRST_LAYERS[network.base_network]}"
        )
    return frozen


def freeze(network: Network, pattern: str | None, start: Mapping[str, Any]) -> Frozen:
    """Decide, once for graph and trainer, what freeze_layer_pattern freezes, and warn of layers frozen without weights.

    start: where the training began, of `InitialWeights`. Raises UserError if it is everything.
    """
    frozen = frozen_by(network, pattern)
    if pattern is None:
        return frozen
    if not frozen.arguments:
        _log.warning("freeze_layer_pattern %r matches no layer name: nothing is frozen", pattern)
    else:
        counts = (len(frozen.arguments), len(network.arguments()))
        _log.info("Frozen by freeze_layer_pattern: %d of %d parameters", *counts)
        _warn_of_layers_without_weights(network, pattern, frozen, start)
    return frozen


def _warn_of_layers_without_weights(network: Network, pattern: str, frozen: Frozen, start: Mapping[str, Any]) -> None:
    """Name the frozen layers that began anew: they never learn, so that what follows them gets noise."""
    names = layers(sorted(frozen.arguments))
    if starts_from_scratch(start):
        _log.warning(
            "freeze_layer_pattern %r freezes layers of a training that began from scratch, so they keep their random "
            "values and never learn: %s. Leave freeze_layer_pattern out, or start from weights that have these layers: "
            "use_pretrained_model 1, or the channel pretrained or model",
            pattern,
            ", ".join(names),
        )
        return
    anew = [name for name in names if name in fresh_layers(start)]
    if anew:
        _log.warning(
            "freeze_layer_pattern %r freezes layers that the weights to start from lack, so they keep the values that "
            "they began with, random ones, and never learn: %s. Write a pattern that matches none of them, such as %s, "
            "or start from weights that have them",
            pattern,
            ", ".join(anew),
            _FIRST_LAYERS[network.base_network],
        )


def training_devices(gpus: int, mini_batch_size: int) -> list[mx.Context]:
    """Return the GPUs, at most one an image of the batch, or the CPU where the machine has no GPU.

    gpus: how many the driver lists. Raises PlatformError when MXNet can use none of them.
    """
    if gpus == 0:
        return [mx.cpu()]
    if not mx.runtime.Features().is_enabled("CUDA"):
        _log.warning("the machine has %d GPU(s), but this is the CPU image: training on the CPU", gpus)
        return [mx.cpu()]
    # CUDA_VISIBLE_DEVICES hides GPUs from MXNet that the driver lists.
    visible = min(gpus, mx.context.num_gpus())
    if visible == 0:
        raise PlatformError(
            f"{unseen(in_words(gpus, 'GPU', 'GPUs'), visible)}; or start the job again on another instance"
        )
    used = min(visible, mini_batch_size)
    if used < gpus:
        _log.warning(
            "%d of %d GPUs are used: mini_batch_size is %d, %d can be used", used, gpus, mini_batch_size, visible
        )
    return [mx.gpu(number) for number in range(used)]


def training_precision(
    asked: str, network: Network, devices: Sequence[mx.Context], group: ProcessGroup, *, before: str = ""
) -> str:
    """Return the number format that was asked for, or float32 where another would be of no use to a host of the job.

    before: what was decided when the job began, for one that is resumed; it is kept as far as every host can.
    """
    if asked == "float32":
        return asked
    obstacle, figures = "", ""
    if devices[0].device_type != "cpu":
        obstacle = "trains on a GPU, where MXNet 1.9.1 has no bfloat16"
    elif before:
        if before == "bfloat16" and not can_compute_bfloat16():
            obstacle = _NO_KERNELS
    else:
        times = time_convolutions(network.base_network, network.image_shape)
        if times.bfloat16 is None:
            obstacle = _NO_KERNELS
        else:
            figures = f"{times.bfloat16 * 1e3:.0f} ms in bfloat16 and {times.float32 * 1e3:.0f} ms in float32"
            if not times.worthwhile:
                obstacle = f"has a CPU on which that is no faster (convolutions take {figures})"
    answers: list[list[str]] = group.all_gather("whether bfloat16 is faster", [obstacle, figures])
    if before == "float32":
        _log.info("Training in float32, as was found to be best when this job began")
        return "float32"
    for host, (reason, _) in zip(group.hosts, answers, strict=True):
        if reason:
            _log.warning("precision_dtype is %s, but %s %s: training in float32", asked, host, reason)
    if any(reason for reason, _ in answers):
        return "float32"
    measured = "; ".join(f"{host}: {took}" for host, (_, took) in zip(group.hosts, answers, strict=True) if took)
    _log.info(
        "Trunk and heads are trained in bfloat16%s; parameters, losses, evaluation and model are float32",
        f" (typical convolutions take {measured})" if measured else ", as this job began",
    )
    return asked


def _join_parameter_server(
    kind: DistributedKVStore, devices: Sequence[mx.Context], group: ProcessGroup
) -> mx.kv.KVStore:
    # They meet a second time, over other ports.
    seconds = read_deadlines(os.environ).hosts
    group.report_progress("the start of MXNet's parameter server", timeout=seconds, variable=HOSTS_VARIABLE)
    store = connect(kind, gpus=devices[0].device_type == "gpu")
    _log.info("Create Store: %s, %d hosts", store.type, store.num_workers)
    return store
