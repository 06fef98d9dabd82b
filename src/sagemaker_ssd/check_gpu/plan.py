"""What check-gpu asks of a part, as the parent says it and the part's process reads it."""

import json
from dataclasses import asdict, dataclass, replace
from typing import Self


@dataclass(frozen=True)
class Plan:
    """Which part, and with what.

    devices: as MXNet writes them, gpu(0) or cpu(1). images: in a step. batches: sizes to try. seconds: of a
    measurement. rank: of a process among several. memory: a limit in bytes, for CPUs. within: the seconds of all
    measurements together. tuned: whether cuDNN tries out its algorithms before the first step, which jobs leave out.
    """

    part: str
    devices: tuple[str, ...] = ()
    network: str = "resnet-50"
    image_shape: int = 300
    images: int = 2
    batches: tuple[int, ...] = ()
    seconds: float = 5.0
    rank: int = 0
    memory: int | None = None
    within: float = 600.0
    tuned: bool = False

    @property
    def where(self) -> str:
        """Name the devices."""
        return " and ".join(self.devices)

    def limited(self, memory: int | None) -> Self:
        """Return the plan with a limit of memory."""
        return replace(self, memory=memory)

    def to_json(self) -> str:
        """Return the plan as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read what `to_json` wrote."""
        fields = json.loads(line)
        return cls(**{**fields, "devices": tuple(fields["devices"]), "batches": tuple(fields["batches"])})
