"""Learning rates worked out by hand."""

import pytest

from sagemaker_ssd.training.schedule import Schedule


def test_steps_count_true_epochs():
    schedule = Schedule(0.1, factor=0.5, steps=(10, 20))
    # "10" takes effect after the tenth epoch, which is number 9 when counted from 0.
    rates = [schedule.rate(epoch, 0, 7) for epoch in (0, 9, 10, 19, 20, 25)]
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])


def test_a_step_takes_effect_at_an_epochs_first_batch_however_many_it_has():
    schedule = Schedule(1.0, factor=0.1, steps=(1,))
    for batches in (1, 4, 1000):
        assert schedule.rate(0, batches - 1, batches) == 1.0
        assert schedule.rate(1, 0, batches) == pytest.approx(0.1)


def test_warm_up_is_linear_over_its_epochs_batches():
    schedule = Schedule(0.8, warmup_epochs=2)
    rates = [schedule.rate(epoch, batch, 2) for epoch in (0, 1, 2) for batch in (0, 1)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_no_steps_keep_the_rate():
    assert {Schedule(0.001).rate(epoch, batch, 3) for epoch in range(30) for batch in range(3)} == {0.001}
