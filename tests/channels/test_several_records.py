"""Several .rec files that become one, and data that are read once and from then on from a copy."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from drawn_channels import (
    BOX,
    encoded,
    json_box,
    noise,
    png,
    read_rec,
    snapshot,
    write_annotation,
    write_image,
    write_rec,
)
from sagemaker_ssd.batches.reader import LoaderOptions, evaluation_batches
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.image_files import pack_images
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.errors import UserError

DRAWN = json_box(1, 20, 10, 20, 20)


class Channel:
    """A folder of drawn .rec files, and its check."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.scratch = tmp_path / "input" / "train", tmp_path / "scratch"
        self.paths: list[Path] = []

    def draw(self, name: str, records: Sequence[tuple[Any, bytes]]) -> Path:
        self.paths.append(write_rec(self.folder / name, records))
        return self.paths[-1]

    def check(self, *, copy: bool = False, **options: Any) -> RecordFile:
        chosen: dict[str, Any] = {"num_classes": 3, "max_bad_images": 0.0, "label_width": 350, **options}
        return check_recordio(self.paths, CheckOptions(name="train", scratch=self.scratch, **chosen), copy=copy)

    def faults(self) -> str:
        with pytest.raises(UserError) as raised:
            self.check()
        assert not list(self.scratch.iterdir())
        return raised.value.sentence


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    return Channel(tmp_path)


def feed(path: Path, data: bytes) -> None:
    """Put a FIFO there that gives its bytes once, in order: whoever reads twice or leaps waits for ever."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    threading.Thread(target=path.write_bytes, args=(data,), daemon=True).start()


def test_all_are_read_in_the_order_given(channel: Channel) -> None:
    first = channel.draw("b/1.rec", [(BOX, png(0)), (BOX, encoded(noise(1)))])
    second = channel.draw("a.rec", [([2, 5, 0, 0, 0, 1, 1], png(2))])
    before = snapshot(channel.folder)
    file = channel.check()
    assert snapshot(channel.folder) == before
    assert file.path == channel.scratch / "train.rec"
    assert file.path.read_bytes() == first.read_bytes() + second.read_bytes()
    assert (file.images, file.boxes_per_class) == (3, (1, 2, 0))
    assert file.offsets.tolist()[2:] == [first.stat().st_size, file.path.stat().st_size]


def test_faults_and_warnings_name_the_file(channel: Channel, caplog: pytest.LogCaptureFixture) -> None:
    channel.draw("a/part.rec", [(BOX, png(0)), ([2, 5, 1, -0.01, 0, 1, 1], png(1))])
    channel.draw("b/part.rec", [([2, 5, 1, -0.01, 0, 1, 1], png(2))])
    assert channel.check().images == 3
    clipped = "train: box past the image's border by up to 2 px, clipped (2)"
    assert f"{clipped}: a/part.rec record 1 box 0, b/part.rec record 0 box 0" in caplog.messages
    channel.draw("c.rec", [([2, 5, 9, 0, 0, 1, 1], png(0))])
    assert channel.faults() == (
        "train/c.rec: record 0, box 0 has class_id 9 (ids run from 0 to 2; num_classes is 3). Counting starts at 0"
    )


def test_broken_framing_in_one_does_not_hide_what_is_wrong_in_the_others(channel: Channel) -> None:
    for name in ("a.rec", "b.rec", "c.rec"):
        channel.draw(name, [([2, 5, 9, 0, 0, 1, 1], png(0)), (BOX, png(1))])
    channel.paths[0].write_bytes(channel.paths[0].read_bytes()[:-8])
    channel.paths[1].unlink()
    count, *faults = channel.faults().splitlines()
    assert count == "4 problems:"
    # Records are looked at a few ahead, so that broken framing is found before what is wrong in those before it.
    assert sorted(faults) == [
        "- train/a.rec: record 0, box 0 has class_id 9 (ids run from 0 to 2; num_classes is 3)",
        *(fault for fault in sorted(faults) if fault.startswith("- train/a.rec: record 1 (at byte ")),
        "- train/b.rec: cannot be read: No such file or directory",
        "- train/c.rec: record 0, box 0 has class_id 9 (ids run from 0 to 2; num_classes is 3)",
    ]


def test_a_file_that_is_copied_is_read_once_from_its_begin_to_its_end(channel: Channel) -> None:
    data = channel.draw("a.rec", [(BOX, encoded(noise(number))) for number in range(30)]).read_bytes()
    feed(channel.paths[0], data)
    file = channel.check(copy=True)
    assert file.path == channel.scratch / "train.rec"
    assert file.path.read_bytes() == data
    assert file.images == 30


def test_several_files_are_read_once_too(channel: Channel) -> None:
    for name in ("a.rec", "b.rec"):
        path = channel.draw(name, [(BOX, encoded(noise(number))) for number in range(30)])
        feed(path, path.read_bytes())
    assert channel.check().images == 60


def test_images_and_their_annotations_are_read_once(tmp_path: Path) -> None:
    images, annotations = tmp_path / "train", tmp_path / "train_annotation"
    for number in range(3):
        write_image(images / f"{number}.png", encoded(noise(number)))
        write_annotation(annotations / f"{number}.json", [DRAWN])
    for path in [*images.iterdir(), *annotations.iterdir()]:
        feed(path, path.read_bytes())
    file = pack_images(
        *(images, annotations),
        CheckOptions(name="train", num_classes=3, max_bad_images=0, label_width=350, scratch=tmp_path / "s"),
    )
    assert [image for _, image in read_rec(file.path)] == [encoded(noise(number)) for number in range(3)]


def test_what_is_read_later_is_the_copy(channel: Channel) -> None:
    channel.draw("a.rec", [(BOX, png(number)) for number in range(4)])
    file = channel.check(copy=True)
    channel.paths[0].unlink()
    batches = evaluation_batches(file, LoaderOptions(batch_size=4, image_shape=32, mean=(0, 0, 0), threads=1))
    assert [batch.data.asnumpy()[:, 0, 0, 0].tolist() for batch in batches] == [[0, 1, 2, 3]]
