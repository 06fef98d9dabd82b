"""Which images of an epoch each host trains on, step by step, and in which order."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def epoch_order(images: int, *, seed: int, epoch: int, host: int = 0) -> NDArray[np.int64]:
    """Return a permutation (images,) of the image numbers, the same for the same seed, epoch and host.

    host: the number of the host that alone has these images, 0 where all hosts share one order.
    """
    # NumPy fills seeds up with zeros, so that host 0 has the order of (seed, epoch).
    order: NDArray[np.int64] = np.random.default_rng((seed, epoch, host)).permutation(images).astype(np.int64)
    return order


@dataclass(frozen=True)
class Shares:
    """The plan of an epoch, the same in every epoch; `sizes` and `replicated` are the same on every host.

    sizes: (steps, hosts), how many images each host has in each step; all hosts make every step, with no images where
    a size is 0. host: this host's number. replicated: whether every host has the whole channel and trains on a part
    of it, or all that it has. images_before: how many images the hosts before this one have, where each has its own.
    """

    sizes: NDArray[np.int64]
    host: int
    replicated: bool
    images_before: int = 0

    @property
    def steps(self) -> int:
        """The steps of an epoch."""
        return len(self.sizes)

    @property
    def batch_size(self) -> int:
        """The images of a full step on the host that has most of them, by which every host binds its network."""
        return int(self.sizes.max())

    @property
    def images(self) -> int:
        """The images of an epoch on this host."""
        return int(self.sizes[:, self.host].sum())

    @property
    def totals(self) -> list[int]:
        """The images of all hosts in each step."""
        return [int(total) for total in self.sizes.sum(axis=1)]

    @property
    def updates(self) -> int:
        """How often in an epoch a host has images in a step, all hosts together."""
        return int((self.sizes > 0).sum())

    def order(self, *, seed: int, epoch: int) -> NDArray[np.int64]:
        """Return the numbers (images,) of this host's images in the order of the epoch's steps."""
        if not self.replicated:
            # Hosts with as many images would otherwise all go through them in the same order.
            return epoch_order(self.images, seed=seed, epoch=epoch, host=self.host)
        order = epoch_order(int(self.sizes.sum()), seed=seed, epoch=epoch)
        ends = self.sizes.cumsum().reshape(self.sizes.shape)[:, self.host]
        begins = ends - self.sizes[:, self.host]
        return np.concatenate([order[begin:end] for begin, end in zip(begins, ends, strict=True)])


def replicated_shares(images: int, *, hosts: int, host: int, batch_size: int) -> Shares:
    """Share the images of a channel that every host has.

    Each takes `batch_size` of every step; what is left for the last step is spread evenly, so that some hosts can have
    none of it.
    """
    full, rest = divmod(images, batch_size * hosts)
    sizes = np.full((full, hosts), batch_size, np.int64)
    if rest:
        last = [rest // hosts + (number < rest % hosts) for number in range(hosts)]
        sizes = np.concatenate([sizes, np.array([last], np.int64)])
    return Shares(sizes, host, replicated=True)


def sharded_shares(images: Sequence[int], *, host: int, batch_size: int) -> Shares:
    """Let each host train on all `images` that it was given; a host with fewer has none in the last steps."""
    steps = -(-max(images) // batch_size)
    left = np.array(images, np.int64) - batch_size * np.arange(steps, dtype=np.int64)[:, None]
    return Shares(left.clip(0, batch_size), host, replicated=False, images_before=sum(images[:host]))
