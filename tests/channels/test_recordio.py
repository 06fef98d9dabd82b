"""RecordIO framing against MXNet's own writer and reader, and what is said of broken files."""

from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.channels.recordio import MAGIC, MAX_LENGTH, frame, read_records
from sagemaker_ssd.errors import UserError

PAYLOADS = [
    b"",
    b"a",
    b"abcd",
    b"abcde",
    MAGIC,
    MAGIC * 3,
    MAGIC + b"behind",
    b"four" + MAGIC,
    b"four" + MAGIC + b"more" + MAGIC + b"end",
    b"odd" + MAGIC + b"odd" + MAGIC,
    b"four" + MAGIC[:3],
    bytes(range(256)) * 40,
]


def random_payloads() -> list[bytes]:
    random = np.random.RandomState(7)
    pieces = [MAGIC, b"\0", b"xy", b"word", MAGIC[:2]]
    return [b"".join(pieces[i] for i in random.randint(0, 5, random.randint(0, 30))) for _ in range(200)]


def write_with_mxnet(path: Path, payloads: list[bytes]) -> list[int]:
    writer = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    offsets = []
    for payload in payloads:
        offsets.append(writer.tell())
        writer.write(payload)
    writer.close()
    return offsets


def test_reads_what_mxnet_wrote(tmp_path: Path) -> None:
    payloads = PAYLOADS + random_payloads()
    offsets = write_with_mxnet(tmp_path / "a.rec", payloads)
    records = list(read_records(tmp_path / "a.rec", "a.rec"))
    assert [record.payload for record in records] == payloads
    assert [record.offset for record in records] == offsets
    assert [record.number for record in records] == list(range(len(payloads)))


def test_writes_what_mxnet_writes(tmp_path: Path) -> None:
    payloads = PAYLOADS + random_payloads()
    write_with_mxnet(tmp_path / "a.rec", payloads)
    assert b"".join(map(frame, payloads)) == (tmp_path / "a.rec").read_bytes()


def test_mxnet_reads_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.rec").write_bytes(b"".join(map(frame, PAYLOADS[1:])))
    reader = mx.recordio.MXRecordIO(str(tmp_path / "a.rec"), "r")
    assert [reader.read() for _ in PAYLOADS[1:]] == PAYLOADS[1:]
    assert reader.read() is None


def test_a_payload_longer_than_its_length_word_is_refused() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return MAX_LENGTH + 1

    with pytest.raises(ValueError, match="536,870,911 bytes at most"):
        frame(Huge())


def said_of(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(UserError) as raised:
        list(read_records(path, "train/a.rec"))
    return raised.value.sentence


def test_another_file_is_not_recordio(tmp_path: Path) -> None:
    said = said_of(tmp_path / "a.rec", b"just some text")
    assert said.startswith("train/a.rec: record 0 (at byte 0) does not begin with RecordIO's magic number")


def test_a_damaged_magic_number_names_record_and_byte(tmp_path: Path) -> None:
    data = bytearray(frame(b"x" * 1000) + frame(b"second"))
    data[1008] ^= 1
    assert "record 1 (at byte 1,008) does not begin with" in said_of(tmp_path / "a.rec", bytes(data))


@pytest.mark.parametrize("missing", range(1, 16))
def test_a_file_that_is_cut_off(tmp_path: Path, missing: int) -> None:
    data = (frame(b"first") + frame(b"second!!"))[:-missing]
    said = said_of(tmp_path / "a.rec", data)
    assert said.startswith("train/a.rec: record 1 (at byte 16) is cut off: ")


def test_a_record_cut_off_between_its_parts(tmp_path: Path) -> None:
    data = frame(b"four" + MAGIC + b"four")[:12]
    assert "record 0 (at byte 0) is cut off: the file ends inside its head" in said_of(tmp_path / "a.rec", data)


def test_an_impossible_length(tmp_path: Path) -> None:
    data = MAGIC + (400_000_000).to_bytes(4, "little") + b"x" * 100
    said = said_of(tmp_path / "a.rec", data)
    assert "is cut off: it should be 400,000,000 bytes long, but the file ends after 100 of them" in said


@pytest.mark.parametrize("flags", [(2,), (3,), (1, 0), (1, 1)])
def test_parts_in_the_wrong_order(tmp_path: Path, flags: tuple[int, ...]) -> None:
    data = b"".join(MAGIC + (flag << 29 | 4).to_bytes(4, "little") + b"four" for flag in flags)
    assert "record 0 (at byte 0) has its parts in the wrong order" in said_of(tmp_path / "a.rec", data)


def test_an_unknown_flag(tmp_path: Path) -> None:
    data = MAGIC + (5 << 29 | 4).to_bytes(4, "little") + b"four"
    assert "record 0 (at byte 0) has the unknown flag 5" in said_of(tmp_path / "a.rec", data)


def test_parts_without_an_end_do_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sagemaker_ssd.channels.recordio.MAX_LENGTH", 20)
    parts = [MAGIC + (flag << 29 | 4).to_bytes(4, "little") + b"four" for flag in (1, 2, 2, 3)]
    (tmp_path / "a.rec").write_bytes(b"".join([parts[0], parts[1], parts[3]]))
    assert [record.payload for record in read_records(tmp_path / "a.rec", "a.rec")] == [MAGIC.join([b"four"] * 3)]
    said = said_of(tmp_path / "a.rec", b"".join(parts))
    assert said == (
        "train/a.rec: record 0 (at byte 0) is longer than the 20 bytes of a record: the file is damaged, pack it again"
    )
