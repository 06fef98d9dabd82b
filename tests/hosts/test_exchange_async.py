"""dist_async over real servers, which have the optimizer and count the updates of all hosts."""

from itertools import pairwise

import numpy as np
import pytest

from hosts.exchange_hosts import Hosts, difference, started_hosts
from hosts.exchange_program import Plan
from training.small_network import FROZEN, PlainSGD, gradient, small_values, weighted_mean


@pytest.fixture
def hosts(tmp_path):
    with started_hosts(tmp_path) as started:
        yield started


def test_the_servers_make_the_updates_of_one_host_as_that_host_would(hosts: Hosts):
    # The other host has no images, so that the order of updates is known.
    steps = [[[0, 1], []], [[2, 3], []], [[4], []]]
    fresh = ("conv2_bias", "classes_weight")
    settings = {"momentum": 0.9, "weight_decay": 0.02, "clip_gradient": 0.05, "fresh": fresh}
    plan = Plan(
        epochs=[steps, steps, steps],
        kind="dist_async",
        settings=settings,
        rate_steps=(1, 2),
        begins_with_state=True,
    )
    busy, idle = hosts.run(plan)
    values, optimizer = small_values(), PlainSGD(momentum=0.9, weight_decay=0.02, clip=0.05, fresh=fresh)
    for epoch in range(3):
        for number, (images, _) in enumerate(steps):
            optimizer.update(values, gradient(values, images), 0.1 * 0.2**epoch)
            assert difference(values, busy.weights[f"{epoch}.{number}"]) < 1e-5, (epoch, number)
        assert difference(busy.weights[f"{epoch}.2"], busy.weights[f"{epoch}"]) == 0
    assert busy.facts["digests"] == idle.facts["digests"]
    assert all(np.array_equal(busy.weights["2"][name], small_values()[name]) for name in FROZEN)
    for facts in (busy.facts, idle.facts):
        assert [sentence.split(";")[0] for sentence in facts["refused"]] == [
            "dist_async: a step came before any weights",
            "dist_async: weights were loaded twice",
            "dist_async: this process has a store already",
        ]


def test_two_devices_of_a_host_make_one_update(hosts: Hosts):
    steps = [[[0, 1, 2], []], [[3], []]]
    plan = Plan(epochs=[steps], kind="dist_async", devices=2)
    busy, idle = hosts.run(plan)
    values, optimizer = small_values(), PlainSGD(**plan.settings)
    for number, shares in enumerate([[[0, 1], [2]], [[3]]]):
        optimizer.update(values, weighted_mean(values, shares), 0.1)
        assert difference(values, busy.weights[f"0.{number}"]) < 1e-5
    assert busy.facts["digests"] == idle.facts["digests"]


def test_two_hosts_have_equal_weights_after_every_epoch(hosts: Hosts):
    steps = [[[0, 1], [2, 3]], [[4, 5], [6]], [[7], []]]
    plan = Plan(
        epochs=[steps] * 4,
        kind="dist_async",
        settings={"momentum": 0.0, "weight_decay": 0.0},
        factor=1e-5,
        rate_steps=(3,),
        slow=True,
    )
    results = hosts.run(plan)
    assert results[0].facts["digests"] == results[1].facts["digests"]
    weights = [small_values(), *(results[0].weights[str(epoch)] for epoch in range(4))]
    moves = [difference(before, after) for before, after in pairwise(weights)]
    # Five updates an epoch, by both hosts together: the rate falls where the third epoch of all ends.
    assert min(moves[:3]) > 1e-2
    assert 0 < moves[3] < 1e-4
