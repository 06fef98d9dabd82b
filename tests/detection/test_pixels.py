"""Images for a detection, beside what MXNet's reader makes of the same ones for an evaluation."""

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "data"))

from drawn_channels import BOX, encoded, noise, write_rec

from sagemaker_ssd.data import check_recordio, evaluation_batches
from sagemaker_ssd.detection.pixels import decoded, network_input
from sagemaker_ssd.errors import UserError

MEAN = (123.0, 117.0, 104.0)
PHOTO = cv2.resize(np.random.RandomState(0).randint(0, 256, (6, 8, 3), np.uint8), (160, 90))
# An EXIF block of one entry: orientation 6, to be turned clockwise.
TURNED = b"\xff\xe1\x00\x22Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
IMAGES = {
    "jpeg": encoded(PHOTO, ".jpg"),
    "png": encoded(PHOTO),
    "gray": encoded(PHOTO[:, :, 0], ".jpg"),
    "webp": encoded(PHOTO, ".webp"),
    "turned by EXIF": encoded(PHOTO, ".jpg")[:2] + TURNED + encoded(PHOTO, ".jpg")[2:],
    "cut off": encoded(noise(1, (160, 90)), ".jpg")[:-3000],
}


@pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("size", [48, 300])
def test_the_network_sees_what_it_sees_in_an_evaluation(tmp_path: Path, image: bytes, size: int) -> None:
    path = write_rec(tmp_path / "one.rec", [(BOX, image)])
    file = check_recordio(path, name="one", num_classes=3, scratch=tmp_path / "s", max_bad_images=0, label_width=7)
    (batch,) = evaluation_batches(file, batch_size=1, image_shape=size, mean=MEAN, threads=1)
    pixels = decoded(image, "one")
    np.testing.assert_array_equal(network_input(pixels, size, MEAN), batch.data[0].asnumpy())


def test_a_turned_image_has_a_viewers_sides() -> None:
    assert decoded(IMAGES["turned by EXIF"], "x").shape == (160, 90, 3)
    assert decoded(IMAGES["jpeg"], "x").shape == (90, 160, 3)


def test_what_is_no_image_is_named() -> None:
    with pytest.raises(UserError, match=r"^a/b\.jpg: damaged or not an image$"):
        decoded(b"nothing", "a/b.jpg")
