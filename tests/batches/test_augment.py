"""The augmentation, compared with MXNet's own over many draws, one change at a time and all at once."""

import cv2
import numpy as np
import pytest

from batches.augmentation_draws import CENTRE, HEIGHT, WIDTH, cases, coordinates, distance, drawn, photo, png
from sagemaker_ssd.batches.augment import Augmentation, augment
from sagemaker_ssd.channels.images import UndecodableImageError

DRAWS = 600
# Kolmogorov and Smirnov's statistic of two samples of the same distribution is above 1.95 * sqrt(2 / n) once in a
# thousand times; there are some fifty. MXNet's random numbers and ours are the same in every run.
BOUND = 2.2
# Colours are changed on the small picture here and on the whole image there, and JPEGs are decoded smaller.
LOOSE = {"contrast": 0.15, "saturation": 0.15, "detail": 0.2}
CASES = cases(photo())


@pytest.mark.parametrize("name", CASES)
def test_the_distributions_are_those_of_mxnet(name: str) -> None:
    theirs, ours = drawn(CASES[name], DRAWS)
    assert set(theirs) == set(ours)
    far = {}
    for measured, values in theirs.items():
        # Of values that are the same but for rounding the mean says enough.
        if max(values.std(), ours[measured].std()) < 1e-3:
            assert abs(values.mean() - ours[measured].mean()) < 1e-3, measured
            continue
        bound = BOUND * np.sqrt(1 / len(values) + 1 / len(ours[measured]))
        bound = LOOSE.get(measured, bound) if name == "all" else bound
        if distance(values, ours[measured]) > bound:
            far[measured] = (values.mean(), ours[measured].mean(), distance(values, ours[measured]), bound)
    assert far == {}


def test_a_wrong_figure_is_far_from_mxnets() -> None:
    measure, image, objects, options, changes = CASES["crop of scattered objects"]
    theirs, ours = drawn((measure, image, objects, options, changes | {"crop_scale": (0.55, 1.0)}), DRAWS)
    assert distance(theirs["width"], ours["width"]) > BOUND * np.sqrt(2 / DRAWS)


def test_the_same_random_numbers_give_the_same_view_and_leave_the_objects_as_they_are() -> None:
    image, objects = png(coordinates()), CENTRE.copy()
    one, again, other = (augment(np.random.default_rng(seed), image, objects, 64) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one[0], again[0])
    np.testing.assert_array_equal(one[1], again[1])
    assert not np.array_equal(one[0], other[0])
    np.testing.assert_array_equal(objects, CENTRE)


def test_boxes_go_with_the_pixels() -> None:
    picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    picture[60:90, 80:120] = (255, 0, 0)
    objects = np.array([[3, 80 / WIDTH, 60 / HEIGHT, 120 / WIDTH, 90 / HEIGHT, 1]], np.float32)
    plain = Augmentation(colour_probability=0, interpolations=(cv2.INTER_NEAREST,))
    shown = 0
    for seed in range(200):
        pixels, seen = augment(np.random.default_rng(seed), png(picture), objects, 120, plain)
        red = (pixels == (255, 0, 0)).all(axis=2)
        if not len(seen):
            continue
        assert seen[0, [0, 5]].tolist() == [3, 1]
        rows, columns = np.flatnonzero(red.any(axis=1)), np.flatnonzero(red.any(axis=0))
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / 120
        # Half a pixel of the view and one of the image, in the view's scale.
        assert np.abs(found - seen[0, 1:5]).max() < 0.5 / 120 + 1.5 / HEIGHT / 0.3
        shown += 1
    assert shown == 200


def test_an_image_without_objects_is_cropped_and_padded_too() -> None:
    views = [
        augment(np.random.default_rng(seed), png(coordinates()), np.empty((0, 5), np.float32), 64) for seed in range(60)
    ]
    assert all(objects.shape == (0, 5) for _, objects in views)
    assert len({pixels.tobytes() for pixels, _ in views}) == 60
    filled = [(pixels == 127).all(axis=2).mean() for pixels, _ in views]
    assert sum(share > 0.05 for share in filled) > 15


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same() -> None:
    small = cv2.resize(
        np.random.RandomState(3).randint(0, 256, (12, 16, 3)).astype(np.uint8),
        (160, 120),
        interpolation=cv2.INTER_CUBIC,
    )
    large = cv2.resize(small, (2560, 1920), interpolation=cv2.INTER_CUBIC)
    image = cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    still = Augmentation(0, 0, crop_probability=0, colour_probability=0, interpolations=(cv2.INTER_LINEAR,))
    pixels, _ = augment(np.random.default_rng(0), image, CENTRE, 160, still)
    whole = cv2.resize(large, (160, 160))[:, :, ::-1]
    assert np.abs(pixels.astype(int) - whole).mean() < 2.5


def test_what_does_not_decode_says_so() -> None:
    with pytest.raises(UndecodableImageError, match="not an image"):
        augment(np.random.default_rng(0), b"nothing", CENTRE, 64)
