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
from sagemaker_ssd.convert.__main__ import main

SOURCE = Path(sagemaker_ssd.__file__).parents[1]


def draw_image(path, size, orientation=None, kind=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(str(path))).integers(0, 256, (size[1], size[0], 3), np.uint8)
    exif = Image.Exif()
    if orientation:
        exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, kind, exif=exif)


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

    def draw(self, name, size=(100, 50)):
        """Draw an image without XML."""
        draw_image(self.images / name, size)

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


CATEGORIES = [{"id": 17, "name": "cat"}, {"id": 3, "name": "car"}, {"id": 90, "name": "tooth  brush"}]


class CocoSet:
    def __init__(self, root, draw):
        self.root = root
        self.draw = draw
        self.images = root / "images"
        self.images.mkdir(parents=True)

    def write(self, name, images, annotations, categories=CATEGORIES):
        """`images`: {id: file_name}, of 100 x 50 px; `annotations`: (image_id, category_id, bbox[, iscrowd])."""
        for file in images.values():
            self.draw(self.images / file, (100, 50))
        content = {
            "images": [{"id": i, "file_name": file, "width": 100, "height": 50} for i, file in images.items()],
            "annotations": [
                {"id": 1000 + n, "image_id": a[0], "category_id": a[1], "bbox": a[2], "iscrowd": int(len(a) > 3),
                 "segmentation": [[1, 2, 3, 4]], "area": 1}
                for n, a in enumerate(annotations)
            ],
            "categories": categories,
        }  # fmt: skip
        return self.write_json(name, content)

    def write_json(self, name, content):
        path = self.root / name
        path.write_text(json.dumps(content))
        return path

    def run(self, output, *more, form="images"):
        arguments = ["coco", "--images", self.images, "--as", form, "--output", output, *more]
        return main([str(word) for word in arguments])


@pytest.fixture
def draw():
    return draw_image


@pytest.fixture
def voc(tmp_path):
    return VocSet(tmp_path / "voc")


@pytest.fixture
def coco(tmp_path):
    return CocoSet(tmp_path / "coco", draw_image)


@pytest.fixture
def other_coco(tmp_path):
    return CocoSet(tmp_path / "other", draw_image)


@pytest.fixture
def boxes_of(read_json):
    """(class_id, left, top, width, height) of each box of an image's JSON, and the image's size."""

    def read(path):
        content = read_json(path)
        boxes = [
            tuple(box[key] for key in ("class_id", "left", "top", "width", "height")) for box in content["annotations"]
        ]
        (size,) = content["image_size"]
        return boxes, (size["width"], size["height"])

    return read


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
