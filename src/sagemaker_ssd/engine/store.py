"""The KVStore in which the gradients of several devices, or of several hosts, come together."""

from collections.abc import Sequence
from typing import Final, Literal

import mxnet as mx

from sagemaker_ssd.errors import ProgramError

Kind = Literal["dist_sync", "dist_async"]
# The store of this process, which nothing gives up: MXNet waits for all other workers when the last reference to a
# store goes, and a worker that fails would never come to its end.
_held: Final[list[mx.kv.KVStore]] = []


def connect(kind: Kind, *, gpus: bool) -> mx.kv.KVStore:
    """Join the servers and the other hosts' workers that the DMLC_ variables name; once in a process.

    It waits for the scheduler, every server and every worker without an end of its own: the deadline is the
    supervisor's. From then on the process has to end by os._exit, since an interpreter that ends waits for all others;
    the scheduler and the servers do not see it leave and have to be killed.
    gpus: add up the devices' gradients on GPUs. Raises ProgramError the second time, which would wait for ever, and
    MXNetError when a variable is missing.
    """
    if _held:
        raise ProgramError(f"{kind}: this process has a store already; join once and pass the store on")
    on_gpus = {"dist_sync": "dist_device_sync", "dist_async": "dist_async_device"}
    _held.append(mx.kv.create(on_gpus[kind] if gpus else kind))
    return _held[0]


def local_store(devices: Sequence[mx.Context]) -> mx.kv.KVStore | None:
    """Return the store of one host, None for one device."""
    if len(devices) == 1:
        return None
    return mx.kv.create("device" if devices[0].device_type == "gpu" else "local")


def is_asynchronous(store: mx.kv.KVStore | None) -> bool:
    """Say whether each host's updates count as they come, which makes the servers the place of the optimizer."""
    return store is not None and "async" in store.type
