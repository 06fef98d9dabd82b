"""An epoch of a host that has fewer batches than the epoch has steps, and the figures of all hosts."""

import mxnet as mx
import pytest

from sagemaker_ssd.errors import ProgramError
from sagemaker_ssd.training.loop import DivergedError, EpochLosses, EpochProgress, combined, train_epoch
from training.small_network import small_images
from training.small_trainer import assert_close, step, trainer, weights

BATCHES = [[0, 1], [2]]


def batches(numbers=BATCHES):
    for batch in numbers:
        data, label = small_images(batch)
        yield mx.nd.array(data), label


def run(training, numbers=BATCHES, totals=None, seen=None) -> EpochLosses:
    return train_epoch(
        training,
        batches(numbers),
        epoch=0,
        rate=lambda number: 0.1 / (1 + number),
        observe=(lambda progress: None) if seen is None else seen.append,
        totals=totals,
    )


def test_batches_alone_are_the_steps():
    found, expected = trainer(1), trainer(1)
    losses = run(found)
    sums = step(expected, [0, 1], 0.1) + step(expected, [2], 0.05)
    assert_close(weights(found), weights(expected))
    assert (losses.batches, losses.images, losses.anchors) == (2, 3, sums[2])
    assert (losses.cross_entropy, losses.smooth_l1) == pytest.approx((sums[0] / sums[2], sums[1] / sums[2]))


def test_a_host_without_a_batch_left_takes_part_in_the_other_steps():
    found, expected, seen = trainer(1), trainer(1), []
    losses = run(found, totals=[4, 1, 2], seen=seen)
    step(expected, [0, 1], 0.1, images=4)
    step(expected, [2], 0.05, images=1)
    expected.step(None, None, 0.1 / 3, images=2)
    assert_close(weights(found), weights(expected))
    assert (losses.batches, losses.images) == (3, 3)
    assert [(progress.batches, progress.images) for progress in seen] == [(1, 2), (2, 3), (3, 3)]


def test_a_host_without_any_images_has_losses_of_zero():
    seen: list[EpochProgress] = []
    losses = run(trainer(1), [], totals=[2, 1], seen=seen)
    assert (losses.cross_entropy, losses.smooth_l1, losses.batches, losses.images, losses.anchors) == (0, 0, 2, 0, 0)
    assert [(progress.batches, progress.cross_entropy, progress.smooth_l1) for progress in seen] == [
        (1, None, None),
        (2, None, None),
    ]


def test_more_batches_than_steps():
    with pytest.raises(ProgramError, match="an epoch of 1 steps has more batches on this host"):
        run(trainer(1), totals=[2])


def test_a_loss_that_is_not_finite_tells_the_rate_of_its_step():
    def spoilt():
        for data, label in batches([[0, 1], [2], [0]]):
            yield data * (float("nan") if len(label) == 1 else 1), label

    with pytest.raises(DivergedError, match=r"the loss is not a finite number in epoch 3, batch 1$") as caught:
        train_epoch(
            trainer(1), spoilt(), epoch=3, rate=lambda number: 0.1 / (1 + number), observe=lambda progress: None
        )
    assert caught.value.learning_rate == 0.05


def test_figures_over_all_hosts():
    first = EpochLosses(cross_entropy=2.0, smooth_l1=1.0, batches=4, images=8, seconds=3.0, anchors=30)
    second = EpochLosses(cross_entropy=6.0, smooth_l1=3.0, batches=4, images=2, seconds=2.0, anchors=10)
    nothing = EpochLosses(cross_entropy=0.0, smooth_l1=0.0, batches=4, images=0, seconds=1.0, anchors=0)
    assert combined([first, nothing, second]) == EpochLosses(3.0, 1.5, 4, 10, 3.0, 40)
    assert combined([nothing]) == nothing
    assert EpochLosses(**first.plain()) == first


def test_figures_are_python_numbers():
    # They go through JSON from host to host.
    assert {type(value) for value in run(trainer(1)).plain().values()} == {int, float}
