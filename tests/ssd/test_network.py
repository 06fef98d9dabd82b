"""What a pattern freezes of a network; which pixels a network's statistics are of."""

import mxnet as mx
import numpy as np
import pytest

from sagemaker_ssd.ssd.network import PIXEL_MEAN, Network, fit_centred_pixels

RESNET = Network("resnet-50", 300, num_classes=3)
VGG = Network("vgg-16", 300, num_classes=3)


def test_a_pattern_is_matched_from_the_names_start_over_the_whole_network():
    frozen = VGG.freeze(r"^(conv1_|conv2_).*").arguments
    assert frozen == {f"conv{layer}_{kind}" for layer in ("1_1", "1_2", "2_1", "2_2") for kind in ("weight", "bias")}
    # re.match: no ^ needed, and no match in the middle of a name.
    assert VGG.freeze("conv1_1_w").arguments == {"conv1_1_weight"}
    assert VGG.freeze("4_3_scale").arguments == frozenset()
    assert VGG.freeze("data|label").arguments == frozenset()
    assert VGG.freeze("false").arguments == frozenset()
    assert VGG.freeze(None).arguments == frozenset()


def test_a_batch_norm_is_frozen_when_both_its_parameters_are():
    assert RESNET.freeze("bn0_gamma").batch_norms == frozenset()
    assert RESNET.freeze("bn0_").batch_norms == {"bn0"}
    stage = RESNET.freeze("stage1_unit1_bn").batch_norms
    assert stage == {"stage1_unit1_bn1", "stage1_unit1_bn2", "stage1_unit1_bn3"}


def photos(generator: np.random.Generator) -> np.ndarray:
    """Return (2, 3, 32, 32) pixels with the statistics of ordinary photos."""
    return np.clip(np.round(generator.normal(np.reshape([124, 116, 102], (3, 1, 1)), 57, (2, 3, 32, 32))), 0, 255)


def black_and_white(share: float):
    """Return what draws pixels of the largest variance beside their mean; share: of white ones."""
    return lambda generator: 255.0 * (generator.random((2, 3, 32, 32)) < share)


def green_on_black(generator: np.random.Generator) -> np.ndarray:
    """Return what a fluorescence microscope sees: two channels are 0 everywhere."""
    return np.clip(np.round(generator.normal(30, 60, (2, 3, 32, 32))), 0, 255) * np.reshape([0, 1, 0], (3, 1, 1))


def batches_of_both(generator: np.random.Generator) -> np.ndarray:
    """Return a batch that is black or a batch that is white, so that the running statistics never come to rest."""
    return np.full((2, 3, 32, 32), 255.0 * (generator.random() < 0.2))


PIXELS = {
    "photos": photos,
    "dark photos": lambda generator: np.round(photos(generator) / 5),
    "pale photos": lambda generator: np.round(200 + photos(generator) / 5),
    "few white on black": black_and_white(0.02),
    "white and black": black_and_white(0.5),
    "few black on white": black_and_white(0.98),
    "green on black": green_on_black,
    "black batches and white ones": batches_of_both,
}


def trained(draw, mean: tuple[float, ...], steps: int):
    """Yield bn_data's statistics, (3,) each, before a training and after each step on the drawn pixels minus `mean`."""
    generator = np.random.default_rng(1)
    graph = RESNET.predictions().locations.get_internals()["bn_data_output"]
    executor = graph.simple_bind(mx.cpu(), data=(2, 3, 32, 32))
    executor.aux_dict["bn_data_moving_var"][:] = 1
    for _ in range(steps + 1):
        # Reading a state does not wait for the backward pass, see `Trainer.parameters`.
        mx.nd.waitall()
        yield {name: mx.nd.array(array.asnumpy()) for name, array in executor.aux_dict.items()}
        executor.forward(is_train=True, data=mx.nd.array(draw(generator) - np.reshape(mean, (3, 1, 1))))
        # MXNet moves the running statistics here.
        executor.backward(mx.nd.zeros((2, 3, 32, 32)))


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_statistics_of_pixels_as_they_are_stay_from_the_first_step_on(pixels: str, dtype: str):
    for states in trained(PIXELS[pixels], (0, 0, 0), steps=60):
        rounded = {name: array.astype(dtype).astype("float32") for name, array in states.items()}
        kept = dict(rounded)
        assert fit_centred_pixels(rounded) == []
        assert rounded == kept


@pytest.mark.parametrize("pixels", ["photos", "dark photos", "few white on black", "green on black"])
def test_statistics_of_pixels_minus_the_mean_are_fitted_once(pixels: str):
    *_, states = trained(PIXELS[pixels], PIXEL_MEAN, steps=60)
    *_, plain = trained(PIXELS[pixels], (0, 0, 0), steps=60)
    assert fit_centred_pixels(states) == [
        "bn_data's mean fitted to pixels of 0-255: with its variance it shows that the file reads these minus a mean, "
        "which is assumed to be mxnet-ssd's, (123, 117, 104)"
    ]
    for name in plain:
        # The start from 0 has 0.9 to the power of 60 of the mean, 0.2 of 123, and what squares of large numbers round.
        np.testing.assert_allclose(states[name].asnumpy(), plain[name].asnumpy(), rtol=1e-3, atol=0.3)
    assert fit_centred_pixels(states) == []


@pytest.mark.parametrize(
    ("mean", "variance"),
    [
        # Pixels of [0, 1] minus ImageNet's mean over its deviation.
        ((-0.1, 0.02, 0.2), (1.1, 0.9, 1.2)),
        ((-1.5, -1.5, -1.5), (90, 90, 90)),
        # Of 16 bits: not of 0-255, whatever is taken off.
        ((0, 0, 0), (3e8, 3e8, 3e8)),
        ((np.nan, 0, 0), (np.nan, 3300, 3300)),
    ],
)
def test_statistics_of_other_numbers_stay(mean: tuple[float, ...], variance: tuple[float, ...]):
    assert (
        fit_centred_pixels({"bn_data_moving_mean": mx.nd.array(mean), "bn_data_moving_var": mx.nd.array(variance)})
        == []
    )


def test_a_network_without_such_statistics_stays():
    assert fit_centred_pixels({"bn0_moving_mean": mx.nd.zeros((64,))}) == []
