"""Makes the trainer that the job's hyperparameters ask for, on this host alone or together with others."""

import logging
from collections.abc import Sequence
from typing import Final

import mxnet as mx

from sagemaker_ssd.contract import Hyperparameters
from sagemaker_ssd.data import RecordFile
from sagemaker_ssd.engine.optimizer import OptimizerSettings
from sagemaker_ssd.engine.server_schedule import ServerSchedule
from sagemaker_ssd.engine.store import Kind, connect, is_asynchronous
from sagemaker_ssd.engine.trainer import Trainer
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.model.graph import Network, saved_graph, training_graph
from sagemaker_ssd.model.parameters import fixed_gammas, frozen_arguments, stored_statistics
from sagemaker_ssd.worker.agreement import check_devices
from sagemaker_ssd.worker.peers import Peers
from sagemaker_ssd.worker.precision import training_precision

_log = logging.getLogger(__name__)
# All workers come to the parameter server within moments, after they have exchanged their channels' figures.
_CONNECTING_SECONDS: Final = 300.0


def make_trainer(
    chosen: Hyperparameters,
    network: Network,
    train: RecordFile,
    devices: Sequence[mx.Context],
    batch_size: int,
    schedule: ServerSchedule,
    peers: Peers,
) -> Trainer:
    """Bind the network on every device and, on several hosts, join the parameter server.

    batch_size: of this host. schedule: for dist_async. Raises UserError when nothing is left to train.
    """
    frozen = _frozen(network, chosen.freeze_layer_pattern)
    graph = training_graph(
        network,
        empty_images=train.images_without_objects > 0,
        stored_statistics=stored_statistics(frozen),
        precision_dtype=training_precision(chosen.precision_dtype, devices, peers),
    )
    store = _store(chosen.kv_store, devices, peers) if chosen.kv_store else None
    return Trainer(
        graph,
        devices,
        OptimizerSettings(
            chosen.optimizer, chosen.learning_rate, chosen.momentum, chosen.weight_decay, chosen.clip_gradient
        ),
        batch_size=batch_size,
        image_shape=chosen.image_shape,
        max_objects=train.max_objects,
        frozen=frozen | fixed_gammas(graph),
        store=store,
        schedule=schedule if is_asynchronous(store) else None,
    )


def _store(kind: Kind, devices: Sequence[mx.Context], peers: Peers) -> mx.kv.KVStore:
    check_devices(peers, len(devices))
    peers.working("the start of MXNet's parameter server", within=_CONNECTING_SECONDS)
    store = connect(kind, gpus=devices[0].device_type == "gpu")
    _log.info("Create Store: %s, %d hosts", store.type, store.num_workers)
    return store


def _frozen(network: Network, pattern: str | None) -> frozenset[str]:
    graph = saved_graph(network)
    frozen = frozen_arguments(graph, pattern)
    if pattern is None:
        return frozen
    trainable = set(graph.list_arguments()) - {"data", "label"}
    if not frozen:
        _log.warning("freeze_layer_pattern %r matches no layer name: nothing is frozen", pattern)
    elif frozen == trainable:
        raise UserError(
            f"freeze_layer_pattern {pattern!r} matches all {len(trainable)} parameters: nothing is left to train; "
            "write a pattern for the layers to freeze, such as ^(conv1_|conv2_).*"
        )
    else:
        _log.info("Frozen by freeze_layer_pattern: %d of %d parameters", len(frozen), len(trainable))
    return frozen
