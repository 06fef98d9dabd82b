"""Images for a detection, beside what MXNet's reader makes of the same ones for an evaluation."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from drawn_channels import BOX, encoded, noise, write_rec
from sagemaker_ssd.batches.reader import LoaderOptions, evaluation_batches
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.image_files import pack_images
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.scoring.coco import coco_ground_truth
from sagemaker_ssd.scoring.saved_model import decoded, network_input, read_picture

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
    options = CheckOptions(name="one", num_classes=3, scratch=tmp_path / "s", max_bad_images=0, label_width=7)
    file = check_recordio(path, options)
    (batch,) = evaluation_batches(file, LoaderOptions(1, size, MEAN, threads=1))
    pixels = decoded(image, "one")
    np.testing.assert_array_equal(network_input(pixels, size, MEAN), batch.data[0].asnumpy())


def test_a_turned_image_has_a_viewers_sides() -> None:
    assert decoded(IMAGES["turned by EXIF"], "x").shape == (160, 90, 3)
    assert decoded(IMAGES["jpeg"], "x").shape == (90, 160, 3)


def test_what_is_no_image_is_named() -> None:
    with pytest.raises(UserError, match=r"^a/b\.jpg: damaged or not an image$"):
        decoded(b"nothing", "a/b.jpg")


def test_a_picture_of_a_channel_is_as_its_boxes_see_it(tmp_path: Path) -> None:
    # A PNG that EXIF turns, with boxes drawn on its pixels as they are stored: neither is turned.
    info = PngImagePlugin.PngInfo()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.fromarray(PHOTO)
    (tmp_path / "train").mkdir()
    image.save(tmp_path / "train" / "a.png", exif=exif, pnginfo=info)
    box = {"class_id": 0, "left": 1, "top": 1, "width": 20, "height": 20}
    (tmp_path / "train_annotation").mkdir()
    sides = {"width": 160, "height": 90}
    (tmp_path / "train_annotation" / "a.json").write_text(json.dumps({"image_size": [sides], "annotations": [box]}))
    file = pack_images(
        tmp_path / "train",
        tmp_path / "train_annotation",
        CheckOptions(name="train", num_classes=1, scratch=tmp_path / "s", max_bad_images=0, label_width=7),
    )
    truth = coco_ground_truth(file, ["cat"])
    assert (truth["images"][0]["width"], truth["images"][0]["height"]) == (160, 90)
    assert read_picture(file, 0).size == (160, 90)
