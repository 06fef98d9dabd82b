"""A channel that a feeder feeds, and its check."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from feeding import Feeders

from drawn_channels import BOX, write_rec
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.pipe import check_stream
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.errors import JobError, UserError


class Channel:
    """The channel `train` below a folder of its own; patience in seconds."""

    def __init__(self, folder: Path, feeders: Feeders) -> None:
        self.folder, self.feeders = folder, feeders
        self.fifo = folder / "input" / "data" / "train"
        self.scratch = folder / "scratch"
        self.patience = 20.0

    def records(self, images: Sequence[bytes], labels: Sequence[Any] | None = None) -> bytes:
        """The bytes of a .rec of these images, with one box each unless labels are given."""
        labels = labels or [BOX] * len(images)
        return write_rec(self.folder / "drawn.rec", list(zip(labels, images, strict=True))).read_bytes()

    def check(
        self, data: bytes | Sequence[Path] | None, *, feeder: dict[str, Any] | None = None, **more: Any
    ) -> RecordFile:
        """Feed `data` and check the stream; None feeds nothing."""
        if data is not None:
            self.feeders.start(self.fifo, data, **(feeder or {}))
        chosen: dict[str, Any] = {"num_classes": 3, "max_bad_images": 0.0, "label_width": 350, **more}
        return check_stream(
            self.fifo.with_name("train_0"),
            CheckOptions(name="train", scratch=self.scratch, **chosen),
            patience_variable="SAGEMAKER_SSD_PIPE_SECONDS",
            patience=self.patience,
        )

    def failure(self, data: bytes | Sequence[Path] | None, kind: type[JobError] = UserError, **more: Any) -> str:
        """Check a stream that is wrong: return the sentence; nothing may be left in scratch."""
        with pytest.raises(kind) as raised:
            self.check(data, **more)
        assert not list(self.scratch.iterdir())
        return raised.value.sentence
