"""The images that the benchmark of the input reads, as a .rec and as files."""

import json
from pathlib import Path

import numpy as np

LABEL = [2, 5, 0, 0.1, 0.2, 0.5, 0.6, 1, 0.4, 0.3, 0.9, 0.8]
# Of what is drawn.
WIDTH, HEIGHT = 640, 480


def photos(count: int, folder: Path | None) -> list[bytes]:
    """Read JPEGs, or draw soft blots with grain, which are as large as photos when compressed."""
    import cv2

    if folder is not None:
        paths = sorted(folder.rglob("*.jp*g"))[:count]
        return [paths[number % len(paths)].read_bytes() for number in range(count)]
    random = np.random.RandomState(0)
    drawn = []
    for _ in range(count):
        pixels = cv2.resize(
            random.randint(0, 256, (60, 80, 3), np.uint8), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC
        )
        grain = random.randint(0, 12, pixels.shape).astype(np.uint8)
        drawn.append(cv2.imencode(".jpg", cv2.add(pixels, grain), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())
    return drawn


def write_files(folder: Path, images: list[bytes]) -> None:
    """Write the images with a JSON each, with the same boxes."""
    boxes = np.array(LABEL[2:]).reshape(-1, 5)
    scaled = np.hstack([boxes[:, :3], boxes[:, 3:] - boxes[:, 1:3]]) * [1, WIDTH, HEIGHT, WIDTH, HEIGHT]
    names = ("class_id", "left", "top", "width", "height")
    annotation = {
        "image_size": [{"width": WIDTH, "height": HEIGHT, "depth": 3}],
        "annotations": [dict(zip(names, map(int, row), strict=True)) for row in scaled.round()],
    }
    for name in ("train", "train_annotation"):
        (folder / name).mkdir(parents=True)
    for number, image in enumerate(images):
        (folder / "train" / f"{number}.jpg").write_bytes(image)
        (folder / "train_annotation" / f"{number}.json").write_text(json.dumps(annotation))


def write(path: Path, images: list[bytes]) -> None:
    """Write a .rec with two boxes an image."""
    import mxnet as mx

    writer = mx.recordio.MXRecordIO(str(path), "w")
    for number, image in enumerate(images):
        writer.write(mx.recordio.pack(mx.recordio.IRHeader(0, LABEL, number, 0), image))
    writer.close()


def read_all(path: Path) -> list[bytes]:
    """Read the images of a .rec into memory."""
    import mxnet as mx

    reader = mx.recordio.MXRecordIO(str(path), "r")
    images = []
    while (payload := reader.read()) is not None:
        images.append(mx.recordio.unpack(payload)[1])
    return images
