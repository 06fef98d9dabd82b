"""Images that hosts of the same channel examine together: the same file on all, each decoded on one of them."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from drawn_channels import BOX, encoded, json_box, noise, picture, png, write_annotation, write_image, write_rec
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.examination import DistributedExaminer, Examiner, LocalExaminer
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.image_files import pack_images
from sagemaker_ssd.channels.images import Decode, ExaminedImage, examine_image
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.errors import UserError

HOSTS = 3
# More than one batch, the last one smaller than the number of hosts' multiple.
IMAGES = 2 * 256 + 100


class Meeting:
    """Hosts as threads of this process, which give values and get those of all."""

    def __init__(self, hosts: int) -> None:
        self._barrier = threading.Barrier(hosts, timeout=20)
        self._values: list[Any] = [None] * hosts
        self.rounds = [0] * hosts

    def examiner(self, host: int) -> DistributedExaminer:
        def all_gather(value: Any) -> list[Any]:
            self.rounds[host] += 1
            self._values[host] = value
            self._barrier.wait()
            values = list(self._values)
            self._barrier.wait()
            return values

        return DistributedExaminer(all_gather, host=host, hosts=len(self.rounds))

    def run(self, work: Callable[[int, DistributedExaminer], Any]) -> list[Any]:
        hosts = range(len(self.rounds))
        with ThreadPoolExecutor(len(hosts)) as pool:
            return list(pool.map(lambda host: work(host, self.examiner(host)), hosts))


def records(images: int) -> list[tuple[list[float], bytes]]:
    """Drawn images, of which some are damaged, some cut off, and one is neither JPEG nor PNG."""
    whole, webp = png(1), encoded(picture(2), ".webp")
    jpeg = encoded(noise(3), ".jpg")
    odd = {7: whole[:-20], 8: jpeg[: len(jpeg) * 3 // 4], 9: webp, 300: b"nothing", 611: jpeg[: len(jpeg) // 2]}
    return [(BOX, odd.get(number, whole if number % 2 else jpeg)) for number in range(images)]


def checked(path: Path, scratch: Path, examiner: Examiner | None) -> RecordFile:
    options = CheckOptions(name="train", num_classes=3, scratch=scratch, max_bad_images=0.1, label_width=7)
    return check_recordio(path, options if examiner is None else replace(options, examiner=examiner))


def test_all_hosts_come_to_the_file_that_one_alone_comes_to(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "drawn.rec"
    write_rec(path, records(IMAGES))
    alone = checked(path, tmp_path / "alone", None)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert alone.images == IMAGES - 2
    caplog.clear()

    meeting = Meeting(HOSTS)
    files = meeting.run(lambda host, examiner: checked(path, tmp_path / f"host-{host}", examiner))
    assert meeting.rounds == [4] * HOSTS
    for file in files:
        assert file.path.read_bytes() == alone.path.read_bytes()
        assert (file.offsets == alone.offsets).all()
    logged = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert sorted(logged) == sorted(warnings * HOSTS)
    assert len(warnings) == 2


def test_image_files_are_read_and_come_to_the_same_file_on_all_hosts(tmp_path: Path) -> None:
    for number in range(40):
        write_image(tmp_path / "train" / f"{number:02}.png", png(number) if number != 7 else b"")
        write_annotation(tmp_path / "train_annotation" / f"{number:02}.json", [json_box(0, number, 1, 20, 20)])

    def packed(name: str, examiner: Examiner) -> RecordFile:
        options = CheckOptions(
            name="train", num_classes=3, scratch=tmp_path / name, max_bad_images=0.1, label_width=7, examiner=examiner
        )
        return pack_images(tmp_path / "train", tmp_path / "train_annotation", options)

    alone = packed("alone", LocalExaminer())
    assert (alone.images, alone.checked.named) == (39, "07.png (empty, 0 bytes)")
    for file in Meeting(HOSTS).run(lambda host, examiner: packed(str(host), examiner)):
        assert file.path.read_bytes() == alone.path.read_bytes()


def test_each_image_is_decoded_on_one_host(tmp_path: Path) -> None:
    # What a host is not to decode is damaged on it alone, behind the digest's back.
    items = [(number, png(number)) for number in range(20)]

    def on(host: int, examiner: DistributedExaminer) -> list[ExaminedImage]:
        def work(item: tuple[int, bytes], decode: Decode) -> ExaminedImage:
            number, image = item
            damaged = image[:60] + bytes(len(image) - 72) + image[-12:]
            return examine_image(image if number % HOSTS == host else damaged, decode=decode)

        return list(examiner.map(work, items, lambda item: item[1]))

    for examined in Meeting(HOSTS).run(on):
        assert [image.fault for image in examined] == [""] * 20
    damaged = png(1)[:60] + bytes(len(png(1)) - 72) + png(1)[-12:]
    assert examine_image(damaged).fault


def test_hosts_with_other_images_examine_them_alone(tmp_path: Path) -> None:
    paths = [tmp_path / f"host-{host}.rec" for host in range(2)]
    write_rec(paths[0], records(400))
    # The same number of records in the second batch, of which one is another image.
    write_rec(paths[1], [*records(399), (BOX, png(9))])
    meeting = Meeting(2)
    files = meeting.run(lambda host, examiner: checked(paths[host], tmp_path / f"scratch-{host}", examiner))
    assert meeting.rounds == [2, 2]
    for path, file in zip(paths, files, strict=True):
        assert file.path.read_bytes() == checked(path, tmp_path / "alone", None).path.read_bytes()


def test_a_host_with_fewer_images_lets_none_wait(tmp_path: Path) -> None:
    paths = [tmp_path / f"host-{host}.rec" for host in range(2)]
    write_rec(paths[0], records(256))
    write_rec(paths[1], records(600))
    files = Meeting(2).run(lambda host, examiner: checked(paths[host], tmp_path / f"scratch-{host}", examiner))
    assert [file.images for file in files] == [255, 598]


def test_all_hosts_tell_the_same_faults(tmp_path: Path) -> None:
    path = tmp_path / "drawn.rec"
    write_rec(path, [*records(20), ([2, 5, 9, 0.1, 0.1, 0.5, 0.5], png(1))])

    def on(host: int, examiner: DistributedExaminer) -> str:
        with pytest.raises(UserError) as error:
            checked(path, tmp_path / f"host-{host}", examiner)
        return error.value.sentence

    first, second, third = Meeting(3).run(on)
    assert first == second == third
    assert "has class_id 9" in first
