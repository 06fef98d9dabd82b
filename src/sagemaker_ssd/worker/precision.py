"""The number format that the training step computes in."""

import logging
from collections.abc import Sequence
from pathlib import Path

import mxnet as mx

from sagemaker_ssd.worker.peers import Peers

_log = logging.getLogger(__name__)


def training_precision(asked: str, devices: Sequence[mx.Context], peers: Peers) -> str:
    """Return the format that was asked for, or float32 where a host of the job has no use for another."""
    if asked == "float32":
        return asked
    obstacle = _obstacle(devices)
    obstacles: list[str] = peers.gather("what speaks against bfloat16", obstacle)
    if not any(obstacles):
        _log.info("Trunk and heads are trained in bfloat16; parameters, losses, evaluation and model are float32")
        return asked
    for host, reason in zip(peers.hosts, obstacles, strict=True):
        if reason:
            _log.warning("precision_dtype is %s, but %s %s: training in float32", asked, host, reason)
    return "float32"


def _obstacle(devices: Sequence[mx.Context]) -> str:
    if devices[0].device_type != "cpu":
        return "trains on a GPU, where MXNet 1.9.1 has no bfloat16"
    return "" if has_bfloat16() else "has a CPU without AVX512-BF16, on which bfloat16 is slower"


def has_bfloat16() -> bool:
    """Say whether this machine's CPU multiplies bfloat16 (Linux names it so in /proc/cpuinfo)."""
    flags = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("flags")), "")
    return "avx512_bf16" in flags.split()
