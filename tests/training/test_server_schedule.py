"""The learning rates that the servers of dist_async use, counted in updates."""

import pickle

import mxnet as mx
import pytest

from sagemaker_ssd.training.optimizer import OptimizerSettings, create_optimizer
from sagemaker_ssd.training.schedule import Schedule, ServerSchedule


def rates(schedule: ServerSchedule, updates: int) -> list[float]:
    # MXNet counts updates from 1.
    return [schedule(update) for update in range(1, updates + 1)]


def test_a_rate_changes_with_the_update_that_begins_an_epoch():
    schedule = ServerSchedule(Schedule(1.0, factor=0.1, steps=(1, 3)), updates_per_epoch=3)
    assert rates(schedule, 10) == pytest.approx([1, 1, 1, *[0.1] * 6, 0.01])


def test_a_warm_up_goes_by_the_updates_of_all_hosts():
    schedule = ServerSchedule(Schedule(0.8, warmup_epochs=1), updates_per_epoch=4)
    assert rates(schedule, 5) == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8])


def test_a_resumed_job_counts_from_its_first_epoch():
    plain = Schedule(1.0, factor=0.1, steps=(1, 2), warmup_epochs=1)
    whole, resumed = (ServerSchedule(plain, updates_per_epoch=2, first_epoch=first) for first in (0, 1))
    assert rates(resumed, 4) == rates(whole, 6)[2:]


def test_it_reaches_the_servers_as_optimizers_do():
    schedule = ServerSchedule(Schedule(1.0, steps=(1,)), updates_per_epoch=2, first_epoch=1)
    # Protocol 0 is what mx.kv.set_optimizer sends.
    assert rates(pickle.loads(pickle.dumps(schedule, 0)), 4) == rates(schedule, 4)


@pytest.mark.parametrize(("updates", "first"), [(0, 0), (1, -1)])
def test_wrong_counts(updates: int, first: int):
    with pytest.raises(ValueError, match=f"updates_per_epoch is {updates} and first_epoch {first}"):
        ServerSchedule(Schedule(1.0), updates_per_epoch=updates, first_epoch=first)


@pytest.mark.parametrize(
    ("first_epoch", "updates_per_epoch", "times"),
    [
        # One update of 75 on the way from 1 to 4, with 29 and 74 before it, and with more than that.
        (0, 100, 1.04),
        (1, 29, 2.2),
        (2, 37, 4.0),
        (5, 100, 4.0),
    ],
)
def test_a_resumed_job_goes_on_with_the_rate_of_layers_that_began_anew(
    first_epoch: int, updates_per_epoch: int, times: float
):
    settings = OptimizerSettings("sgd", 0.001, momentum=0.9, weight_decay=0.0, fresh=frozenset({"a_weight"}))
    graph = mx.sym.Group([mx.sym.Variable("a_weight"), mx.sym.Variable("b_weight")])
    schedule = ServerSchedule(Schedule(0.001), updates_per_epoch=updates_per_epoch, first_epoch=first_epoch)
    made = create_optimizer(settings, graph, {0: "a_weight", 1: "b_weight"}, world_size=1, lr_scheduler=schedule)
    # As a server has it, and as it counts: before it asks for the rate.
    optimizer = pickle.loads(pickle.dumps(made, 0))
    optimizer._set_current_context(0)
    for index, expected in ((0, 0.001 * times), (1, 0.001)):
        optimizer._update_count([index])
        assert optimizer._get_lrs([index]) == pytest.approx([expected])
