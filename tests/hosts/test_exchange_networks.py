"""The two real networks at 300 pixels on two hosts, on fixed images, against one process with two devices."""

import numpy as np
import pytest

from hosts.exchange_hosts import difference, started_hosts
from hosts.exchange_program import Plan, alone, make_trainer

pytestmark = pytest.mark.long

FROZEN = {"vgg-16": "^conv[123]_", "resnet-50": "^(bn_data|conv0|bn0|stage1_)"}


# Whole networks, which take minutes on a slow machine that has other work.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("network", FROZEN)
def test_two_hosts_equal_one_process_with_two_devices(network: str, tmp_path):
    # Ten steps of an image a host; the rate falls after the fifth.
    steps = [[[number], [10 + number]] for number in range(5)]
    plan = Plan(
        epochs=[steps, steps[::-1]],
        network=network,
        frozen=FROZEN[network],
        rate=0.001,
        settings={"momentum": 0.9, "weight_decay": 0.0005},
    )
    with started_hosts(tmp_path) as hosts:
        results = hosts.run(plan, seconds=200)
    assert results[0].facts["digests"] == results[1].facts["digests"]
    expected = alone(plan)
    _, arguments, _ = make_trainer(plan, None)
    start = {name: array.asnumpy() for name, array in arguments.items()}
    for epoch in ("0", "1"):
        found = results[0].weights[epoch]
        of_all = max(np.abs(value).max() for value in expected.weights[epoch].values())
        off = max(np.abs(value - found[name]).max() for name, value in expected.weights[epoch].items())
        moved = max(np.abs(value - start[name]).max() for name, value in found.items())
        each = difference(expected.weights[epoch], found)
        print(f"{network}, {epoch}: max|dw|/max|w| {off / of_all:.2g}, of one array at most {each:.2g}, dw {off:.2g}")
        print(f"  largest move of a weight since the start {moved:.2g}")
        assert off / of_all < 1e-4
        assert off < 1e-2 * moved
    still = {name for name, value in results[0].weights["1"].items() if np.array_equal(value, start[name])}
    assert {name for name in start if name.startswith(("conv1_", "conv2_", "stage1_", "conv0", "bn_data"))} <= still
    assert len(still) < len(start) / 2
