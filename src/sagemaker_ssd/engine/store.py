"""The KVStore in which the gradients of several devices, or of several hosts, come together."""

from collections.abc import Sequence
from typing import Literal

import mxnet as mx

Kind = Literal["dist_sync", "dist_async"]


def connect(kind: Kind, *, gpus: bool) -> mx.kv.KVStore:
    """Join the servers and the other hosts' workers that the DMLC_ variables name; once in a process.

    It waits for the scheduler, every server and every worker without an end of its own: the deadline is the
    supervisor's. A store waits for all others again when it is given up, so a worker that fails has to leave by
    os._exit while something still holds it.
    gpus: add up the devices' gradients on GPUs. Raises MXNetError when a variable is missing.
    """
    if gpus:
        return mx.kv.create({"dist_sync": "dist_device_sync", "dist_async": "dist_async_device"}[kind])
    return mx.kv.create(kind)


def local_store(devices: Sequence[mx.Context]) -> mx.kv.KVStore | None:
    """Return the store of one host, None for one device."""
    if len(devices) == 1:
        return None
    return mx.kv.create("device" if devices[0].device_type == "gpu" else "local")


def is_asynchronous(store: mx.kv.KVStore | None) -> bool:
    """Say whether each host's updates count as they come, which makes the servers the place of the optimizer."""
    return store is not None and "async" in store.type
