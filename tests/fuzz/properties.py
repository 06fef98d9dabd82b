"""What holds for every input: it is taken, or refused with a sentence that names a file. Nothing else, and in time."""

import io
import itertools
import json
import logging
import re
import signal
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.configuration import set_hypothesis_home_dir
from mutations import json_objects, labels, mutated, with_checksums
from PIL import Image

from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.image_files import pack_images
from sagemaker_ssd.channels.pipe import check_stream
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.channels.recordio import frame
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.errors import PlatformError, UserError

SECONDS_PER_EXAMPLE = 10


@dataclass
class Results:
    """How many examples were tried, and the files that came of them, each with its example."""

    tried: int = 0
    files: list[tuple[RecordFile, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Property:
    """A strategy, and what to do with each example in a folder of its own; `short`: examples in the short form."""

    name: str
    strategy: st.SearchStrategy[Any]
    attempt: Callable[[Any, Path], RecordFile | None]
    short: int


def explore(part: Property, folder: Path, results: Results, *, examples: int, chosen_seed: int | None = None) -> None:
    """Try examples, the same ones each time without a seed; raises what an example raises, with that example."""
    numbers = itertools.count()
    # Else it would leave what it notes of the code under test in the current folder.
    set_hypothesis_home_dir(folder)

    @settings(
        max_examples=examples,
        derandomize=chosen_seed is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
    )
    @given(part.strategy)
    def attempt(example: Any) -> None:
        results.tried += 1
        own = folder / f"{part.name} {chosen_seed} {next(numbers)}"
        with _in_time(), _warnings_written():
            file = part.attempt(example, own)
        if file is not None:
            results.files.append((file, f"{part.name}: {example!r}"))

    (attempt if chosen_seed is None else seed(chosen_seed)(attempt))()


@contextmanager
def _in_time() -> Iterator[None]:
    def stop(number: int, at: FrameType | None) -> None:
        raise TimeoutError(f"no end after {SECONDS_PER_EXAMPLE} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS_PER_EXAMPLE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class _Written(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        record.getMessage()  # raises where the arguments do not fit the text


@contextmanager
def _warnings_written() -> Iterator[None]:
    logger, handler = logging.getLogger("sagemaker_ssd"), _Written()
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


def check_sentence(sentence: str, *names: str) -> None:
    """Check that every fault of a sentence is one for a person: it names a file, and is no piece of a program."""
    lines = [line for line in sentence.splitlines() if not re.fullmatch(r"\d+ problems:|\.\.\. and [\d,]+ more", line)]
    assert lines, f"says nothing: {sentence!r}"
    for line in lines:
        assert any(name in line for name in names), f"names no file: {line!r}"
        assert all(letter.isprintable() for letter in line), f"cannot be printed: {line!r}"
        for piece in ("Traceback", 'File "', "<class", "object at 0x", "np.float", "_FaultError"):
            assert piece not in line, f"shows the program: {line!r}"


# Config files ---------------------------------------------------------------------------------------------------------

HYPERPARAMETERS = {"num_classes": "3", "num_training_samples": "10", "use_pretrained_model": "0"}
CHANNELS: dict[str, Any] = {
    name: {"ContentType": "application/x-recordio", "TrainingInputMode": "File"} for name in ("train", "validation")
}
RESOURCES = {"current_host": "algo-1", "hosts": ["algo-1"]}
MORE_HYPERPARAMETERS = (
    *(
        "base_network",
        "epochs",
        "learning_rate",
        "lr_scheduler_step",
        "optimizer",
        "freeze_layer_pattern",
        "label_width",
    ),
    *(
        "early_stopping",
        "kv_store",
        "image_shape",
        "seed",
        "clip_gradient",
        "max_bad_images",
        "_kvstore",
        "sagemaker_x",
    ),
)
CHANNEL_KEYS = ("ContentType", "TrainingInputMode", "RecordWrapperType", "S3DistributionType")
CHANNEL_TEXTS = st.sampled_from(
    [
        "application/x-recordio",
        "image/jpeg",
        "application/x-image",
        "Pipe",
        "FastFile",
        "File",
        "RecordIO",
        "None",
        "ShardedByS3Key",
    ]
)


@st.composite
def _channels(draw: st.DrawFn) -> bytes:
    content = json.loads(json.dumps(CHANNELS))
    names = ["train", "validation", "train_annotation", "validation_annotation", "model", "pretrained", "test"]
    for name in draw(st.lists(st.sampled_from(names), max_size=4)):
        content[name] = draw(
            st.dictionaries(st.sampled_from(CHANNEL_KEYS), CHANNEL_TEXTS | st.text(max_size=5), max_size=4)
        )
    return json.dumps(content).encode()


def job(name: str) -> Callable[[bytes, Path], None]:
    """Give the attempt to read a job of which the file `name` has this content, and the others the usual one."""

    def attempt(content: bytes, folder: Path) -> None:
        config = folder / "input" / "config"
        config.mkdir(parents=True)
        for split in ("train", "validation"):
            data = folder / "input" / "data" / split
            data.mkdir(parents=True)
            (data / "a.rec").write_bytes(b"x")
        usual = {"hyperparameters": HYPERPARAMETERS, "inputdataconfig": CHANNELS, "resourceconfig": RESOURCES}
        for file, good in usual.items():
            (config / f"{file}.json").write_bytes(content if file == name else json.dumps(good).encode())
        try:
            read_job(folder)
        except (UserError, PlatformError) as error:
            check_sentence(error.sentence, *(f"{file}.json" for file in usual), "input/data/")

    return attempt


def _texts(usual: dict[str, Any], more: tuple[str, ...] = ()) -> st.SearchStrategy[bytes]:
    return json_objects(usual, more) | mutated([json.dumps(usual).encode()]) | st.binary(max_size=30)


# Channels -------------------------------------------------------------------------------------------------------------


def _picture(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    x, y = np.meshgrid(np.linspace(0, 255, 24), np.linspace(0, 255, 20))
    stream = io.BytesIO()
    Image.fromarray(np.stack([x, y, 255 - x], axis=2).astype(np.uint8)).convert(mode).save(stream, kind, **options)
    return stream.getvalue()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


GOOD_LABEL = [2, 5, 1, 0.25, 0.25, 0.5, 0.75]
JPEGS = [
    _picture("JPEG"),
    _picture("JPEG", progressive=True),
    _picture("JPEG", "L"),
    _picture("JPEG", "CMYK"),
    _picture("JPEG", exif=_exif()),
]
PNGS = [_picture("PNG"), _picture("PNG", "P"), _picture("PNG", "LA"), _picture("PNG", "1")]
OTHERS = [
    _picture("WEBP"),
    _picture("BMP"),
    _picture("TIFF", compression="tiff_lzw"),
    _picture("GIF", "P"),
    _picture("JPEG2000"),
]
SETTINGS: dict[str, Any] = {"name": "train", "num_classes": 3, "max_bad_images": 1.0, "label_width": 350}


def payload(label: list[float], image: bytes) -> bytes:
    """Put an image record together; the floats as they are."""
    floats = np.array(label, "<f4")
    return struct.pack("<IfQQ", len(floats), 0, 0, 0) + floats.tobytes() + image


GOOD = frame(payload(GOOD_LABEL, PNGS[0]))
# With RecordIO's magic number in an image, so that there are records of several parts.
RECORDS = [
    GOOD
    + frame(payload([2, 5], JPEGS[0]))
    + frame(payload(GOOD_LABEL + [-1] * 5, JPEGS[0] + struct.pack("<I", 0xCED7230A) * 3)),
    frame(payload(GOOD_LABEL, JPEGS[1])),
]


def _check_rec(content: bytes, folder: Path) -> RecordFile | None:
    folder.mkdir(parents=True)
    (folder / "train.rec").write_bytes(content)
    try:
        return check_recordio(folder / "train.rec", CheckOptions(scratch=folder / "scratch", **SETTINGS))
    except (UserError, PlatformError) as error:
        check_sentence(error.sentence, "train/train.rec: ", "train: ")
        return None


def _check_label(label: list[float], folder: Path) -> RecordFile | None:
    return _check_rec(GOOD + frame(payload(label, JPEGS[0])), folder)


def _check_image(image: bytes, folder: Path) -> RecordFile | None:
    return _check_rec(GOOD + frame(payload(GOOD_LABEL, image)), folder)


ANNOTATION: dict[str, Any] = {
    "file": "b.jpg",
    "image_size": [{"width": 24, "height": 20, "depth": 3}],
    "annotations": [{"class_id": 1, "left": 6, "top": 5, "width": 6, "height": 10}],
}


@st.composite
def _annotations(draw: st.DrawFn) -> bytes:
    box = draw(json_objects(ANNOTATION["annotations"][0]))
    return b'{"file": "b.jpg", "annotations": [' + box + b"]}"


def pack(content: bytes, folder: Path) -> RecordFile | None:
    """Pack two images, the second of which has this annotation."""
    images, jsons = folder / "train", folder / "train_annotation"
    images.mkdir(parents=True)
    jsons.mkdir()
    for name, image in (("a", PNGS[0]), ("b", JPEGS[0])):
        (images / f"{name}.jpg").write_bytes(image)
    (jsons / "a.json").write_text(json.dumps({**ANNOTATION, "file": "a.jpg"}))
    (jsons / "b.json").write_bytes(content)
    try:
        return pack_images(images, jsons, CheckOptions(scratch=folder / "scratch", **SETTINGS))
    except (UserError, PlatformError) as error:
        check_sentence(error.sentence, "train_annotation/b.json: ", "train: ")
        return None


def _check_stream(content: bytes, folder: Path) -> RecordFile | None:
    # A file in the FIFO's place is read as a stream, too, and needs no feeder for each example.
    folder.mkdir(parents=True)
    (folder / "train_0").write_bytes(content)
    try:
        return check_stream(
            folder / "train_0",
            CheckOptions(scratch=folder / "scratch", **SETTINGS),
            patience=5,
            patience_variable="PATIENCE",
        )
    except (UserError, PlatformError) as error:
        check_sentence(error.sentence, "train's stream", "train: ")
        return None


def _pairs(annotation: bytes) -> bytes:
    pair = frame(PNGS[0]) + frame(json.dumps(ANNOTATION).encode())
    return pair + frame(JPEGS[0]) + frame(annotation)


PROPERTIES = [
    Property("hyperparameters", _texts(HYPERPARAMETERS, MORE_HYPERPARAMETERS), job("hyperparameters"), 250),
    Property(
        "inputdataconfig",
        _texts(CHANNELS, ("model", "test", "train_annotation")) | _channels(),
        job("inputdataconfig"),
        250,
    ),
    Property("resourceconfig", _texts(RESOURCES), job("resourceconfig"), 150),
    Property("annotations", _texts(ANNOTATION) | _annotations(), pack, 250),
    Property("record bytes", mutated(RECORDS), _check_rec, 250),
    Property("stream of records", mutated(RECORDS), _check_stream, 100),
    Property("stream of pairs", mutated([_pairs(json.dumps(ANNOTATION).encode())]), _check_stream, 150),
    Property("annotations in a stream", (_texts(ANNOTATION) | _annotations()).map(_pairs), _check_stream, 100),
    Property("label floats", labels(), _check_label, 250),
    Property("JPEG bytes", mutated(JPEGS), _check_image, 200),
    Property("PNG bytes", mutated(PNGS).map(with_checksums) | mutated(PNGS), _check_image, 200),
    Property("bytes of other images", mutated(OTHERS), _check_image, 100),
]
