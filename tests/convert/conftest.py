import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sagemaker_ssd

SOURCE = Path(sagemaker_ssd.__file__).parents[1]


def draw_image(path, size, orientation=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, (size[1], size[0], 3), np.uint8)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif)


class VocSet:
    """Writes images and XML files below a folder of the test's own."""

    def __init__(self, root):
        self.root = root
        self.images = root / "images"
        self.annotations = root / "annotations"
        self.annotations.mkdir(parents=True)
        self.images.mkdir()

    def add(self, name, objects=(), size=(100, 50), stated="same", orientation=None):
        """`objects`: (class, xmin, ymin, xmax, ymax[, difficult]); `stated`: the <size>, or None for no <size>."""
        draw_image(self.images / name, size, orientation)
        stated = size if stated == "same" else stated
        text = "<annotation><filename>other.jpg</filename>"
        if stated:
            text += f"<size><width>{stated[0]}</width><height>{stated[1]}</height><depth>3</depth></size>"
        for label, *corners in objects:
            tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=False)
            box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
            difficult = f"<difficult>{corners[4]}</difficult>" if len(corners) > 4 else ""
            text += f"<object><name>{label}</name>{difficult}<bndbox>{box}</bndbox></object>"
        self.write_xml(name, f"{text}</annotation>")

    def write_xml(self, name, text):
        path = self.annotations / Path(name).with_suffix(".xml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def write_list(self, name, *lines):
        path = self.root / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def arguments(self, *more):
        return ["voc", "--images", self.images, "--annotations", self.annotations, *more]


@pytest.fixture
def draw():
    return draw_image


@pytest.fixture
def voc(tmp_path):
    return VocSet(tmp_path / "voc")


@pytest.fixture
def convert(tmp_path):
    """Run the command as a process of its own; `limit` is the most bytes that a file of it may have."""

    def run(*arguments, limit=resource.RLIM_INFINITY):
        return subprocess.run(
            [sys.executable, "-m", "sagemaker_ssd.convert", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY)),
        )

    return run


@pytest.fixture
def read_json():
    return lambda path: json.loads(path.read_text())


@pytest.fixture
def read_records():
    """The (label as a list, image bytes) of each record, read by MXNet."""

    def read(path):
        from mxnet import recordio

        file = recordio.MXRecordIO(str(path), "r")
        records = []
        while (record := file.read()) is not None:
            header, image = recordio.unpack(record)
            records.append((header.label.tolist(), image))
        return records

    return read
