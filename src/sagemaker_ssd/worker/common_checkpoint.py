"""The checkpoint that every host of the job has: each reads it from its own folder."""

import hashlib
from pathlib import Path
from typing import Any

from sagemaker_ssd.artifacts.checkpoint_search import Search, newest_checkpoint
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.worker.peers import Peers


def common_checkpoint(folder: Path | None, peers: Peers) -> Search:
    """Search this host's folder for the newest checkpoint that is whole on every host.

    Raises UserError naming what each host has where some have a checkpoint and no one is the same on all.
    """
    search = _search(folder)
    found = peers.gather("the newest checkpoint", _identity(search))
    if any(other != found[0] for other in found) and None not in found:
        # One host may have got the last checkpoint and another not yet.
        search = _search(folder, newest=min(epoch for epoch, _ in found))
        found = peers.gather("the newest checkpoint of all", _identity(search))
    if any(other != found[0] for other in found):
        there = ", ".join(
            f"{host} {'none' if identity is None else f'epoch {identity[0]} ({identity[1][:8]})'}"
            for host, identity in zip(peers.hosts, found, strict=True)
        )
        raise UserError(
            f"the hosts have different checkpoints: {there}. All hosts must read the same ones: give all of them the "
            "same folder for checkpoints, as SageMaker does with CheckpointConfig, or empty it on every host to start "
            "anew"
        )
    return search


def _search(folder: Path | None, newest: int | None = None) -> Search:
    # The folder is made by the first host alone.
    return Search(None, ()) if folder is None or not folder.is_dir() else newest_checkpoint(folder, newest)


def _identity(search: Search) -> list[Any] | None:
    """Name a checkpoint by its epoch and the digest of its manifest, which holds those of its files."""
    if search.manifest is None:
        return None
    return [search.manifest.epoch, hashlib.sha256(search.manifest.text().encode()).hexdigest()]
