"""dist_sync over real servers: several hosts make the updates of one process that has all their devices."""

import numpy as np
import pytest

from hosts.exchange_hosts import Hosts, Result, Values, difference, started_hosts
from hosts.exchange_program import Plan, alone
from training.small_network import FROZEN, PlainSGD, small_values, weighted_mean

# Which devices get an image of so many on two devices.
ON_TWO_DEVICES = {0: [0, 0], 1: [0, 1], 2: [1, 1], 3: [2, 1], 4: [2, 2], 5: [2, 3]}


@pytest.fixture
def hosts(tmp_path):
    with started_hosts(tmp_path) as started:
        yield started


def assert_same_on_all_hosts(results: list[Result]) -> None:
    first, *others = results
    for other in others:
        assert other.facts["digests"] == first.facts["digests"]
        assert all(difference(of, other.weights[moment]) == 0 for moment, of in first.weights.items())
    assert len(set(first.facts["digests"])) == len(first.facts["digests"])


def by_hand(plan: Plan, shares) -> dict[str, Values]:
    """Return the weights after every step, of SGD in numpy; `shares` gives a step's images by device."""
    values, optimizer, found = small_values(), PlainSGD(**plan.settings), {}
    for epoch, steps in enumerate(plan.epochs):
        for number, step in enumerate(steps):
            rate = plan.rate * plan.factor ** sum(at <= epoch for at in plan.rate_steps)
            optimizer.update(values, weighted_mean(values, shares(step)), rate)
            found[f"{epoch}.{number}"] = dict(values)
    return found


def test_uneven_shares_on_two_hosts_equal_those_on_two_devices(hosts: Hosts):
    steps = [[[4, 5], [6, 7]], [[0, 1], [2]], [[3], []]]
    plan = Plan(epochs=[steps, steps, steps])
    results = hosts.run(plan)
    assert_same_on_all_hosts(results)
    expected = alone(plan)
    for moment, weights in expected.weights.items():
        assert difference(weights, results[0].weights[moment]) < 1e-6, moment
    for moment, weights in by_hand(plan, lambda step: step).items():
        assert difference(weights, results[0].weights[moment]) < 1e-5, moment
    start = small_values()
    for name, value in results[0].weights["2"].items():
        assert np.array_equal(value, start[name]) == (name in FROZEN), name
    # Each host counts its own; the second has no images in one of three steps, and makes it.
    assert [result.facts["images"] for result in results] == [[5, 5, 5], [3, 3, 3]]
    assert [result.facts["steps"][0] for result in results] == [3, 3]
    assert sum(result.facts["anchors"][0] for result in results) == expected.facts["anchors"][0]


def test_hosts_that_go_on_from_a_state_equal_hosts_that_never_stopped(hosts: Hosts):
    steps = [[[0], [1, 2]], [[3, 4], [5]]]
    for result in hosts.run(Plan(epochs=[steps, steps, steps], resumes=True)):
        again = [moment for moment in result.weights if moment.startswith("again ")]
        assert len(again) == 6
        for moment in again:
            assert difference(result.weights[moment.removeprefix("again ")], result.weights[moment]) == 0


def test_every_image_counts_the_same_on_hosts_of_two_devices(hosts: Hosts):
    steps = [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9, 10], [11, 12]], [[13], []]]
    plan = Plan(epochs=[steps, steps], devices=2)

    def shares(step: list[list[int]]) -> list[list[int]]:
        found = []
        for own in step:
            first, _ = ON_TWO_DEVICES[len(own)]
            found += [own[:first], own[first:]]
        return found

    results = hosts.run(plan)
    assert_same_on_all_hosts(results)
    for moment, weights in by_hand(plan, shares).items():
        assert difference(weights, results[1].weights[moment]) < 1e-5, moment


def test_three_hosts(hosts: Hosts):
    steps = [[[0, 1], [2, 3], [4, 5]], [[6], [7], []]]
    plan = Plan(epochs=[steps, steps])
    results = hosts.run(plan)
    assert_same_on_all_hosts(results)
    for moment, weights in by_hand(plan, lambda step: step).items():
        assert difference(weights, results[2].weights[moment]) < 1e-5, moment


def test_a_host_that_fails_comes_to_its_end_and_waits_for_nobody(hosts: Hosts):
    # Its exit code is there long before the deadline, after which all would be running still.
    with pytest.raises(AssertionError, match=r"workers \{(None, )?1(, None)?\}[^$]*ValueError: this host fails"):
        hosts.run(Plan(epochs=[[[[0], [1]], [[2], [3]]]], fails=True), seconds=60)
