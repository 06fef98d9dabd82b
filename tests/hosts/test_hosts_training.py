"""Jobs on two and three hosts that end well, each host a `./train` on an address of its own."""

import json
from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from cluster_runner import TINY, Hosts, make_hosts
from ended_job import MODEL, Ended
from event_reader import assert_curves
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network

# A rate from the second epoch on that float32 has no update for, and nothing else that could move a weight then.
ONE_EPOCH_OF_LEARNING = {"lr_scheduler_step": "1", "lr_scheduler_factor": "1e-44", "momentum": "0"}


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Hosts, list[Ended]]:
    """A job of up to five epochs that early stopping ends after the second: no detection is ever exactly right."""
    hosts = make_hosts(
        tmp_path_factory.mktemp("two"),
        2,
        *(*TINY, "--train", "7"),
        **ONE_EPOCH_OF_LEARNING,
        epochs="5",
        freeze_layer_pattern="^(bn_data|conv0|bn0|stage1).*",
        overlap_threshold="1",
        early_stopping="true",
        early_stopping_min_epochs="1",
        early_stopping_patience="1",
    )
    try:
        return hosts, hosts.run()
    finally:
        hosts.clean_up()


def test_both_end_well(two: tuple[Hosts, list[Ended]]):
    hosts, ended = two
    for host, end in zip(hosts.hosts, ended, strict=True):
        assert (end.code, end.failure) == (0, None), end.log
        assert "Create Store: dist_sync, 2 hosts" in end.log
        assert "each of 2 hosts decodes its part of the images for the check" in end.log
        assert host.job.left_in_scratch() == []


def test_the_first_host_alone_writes(two: tuple[Hosts, list[Ended]]):
    _, (first, second) = two
    assert first.model_files == MODEL
    assert json.loads((first.base / "model" / "hyperparams.json").read_text())["kv_store"] == "dist_sync"
    assert not (second.base / "model").exists()
    assert not (second.base / "output" / "data").exists()
    assert not (second.base / "output" / "tensorboard").exists()
    assert_curves(first.base, first.metrics, ["circle", "square", "triangle"])
    assert "The model and the metrics are on 127.0.0.1" in second.log


def test_the_first_host_alone_prints_the_map_and_each_its_own_losses(two: tuple[Hosts, list[Ended]]):
    _, (first, second) = two
    for metric in ("validation mAP <score>=", "validation best mAP <score>="):
        assert first.log.count(metric) == 2
        assert metric not in second.log
    for end, host in ((first, "127.0.0.1"), (second, "127.0.0.2")):
        for metric in ("train cross_entropy <loss>=(", "train smooth_l1 <loss>=("):
            assert end.log.count(f"#quality_metric: host={host}, epoch=0, batch=2 {metric}") == 1
        assert end.log.count(f"#throughput_metric: host={host}, train throughput=") == 2


def test_all_images_are_shared_out(two: tuple[Hosts, list[Ended]]):
    _, (first, second) = two
    # Seven images: two and two, then two and one.
    assert "7 images on 2 hosts: an epoch has 2 steps of up to 4 images, 2 of this host's 4" in first.log
    assert "7 images on 2 hosts: an epoch has 2 steps of up to 4 images, 2 of this host's 3" in second.log
    assert [epoch["train"]["images"] for epoch in first.metrics["epochs"]] == [7, 7]
    assert first.metrics["hosts"] == ["127.0.0.1", "127.0.0.2"]


def test_weights_are_the_same_on_both_and_follow_the_learning_rate(two: tuple[Hosts, list[Ended]]):
    hosts, _ = two
    weights = hosts[0].weights()
    assert hosts[1].weights() == weights
    # Learned in the first epoch, and not in the second.
    assert len(weights) == 2
    assert weights[0] == weights[1]


def test_frozen_layers_are_as_at_the_start_and_the_others_are_not(two: tuple[Hosts, list[Ended]]):
    _, (first, _) = two
    start = initial_parameters(saved_graph(Network("resnet-50", 300, 3)), 300, seed=0).arguments
    saved = mx.nd.load(str(first.base / "model" / "model_algo_1-0000.params"))
    moved = {
        name for name, value in start.items() if not np.array_equal(value.asnumpy(), saved[f"arg:{name}"].asnumpy())
    }
    frozen = {name for name in start if name.startswith(("bn_data", "conv0", "bn0", "stage1"))}
    assert frozen.isdisjoint(moved)
    assert {"stage2_unit1_conv1_weight", "stage4_unit3_conv3_weight", "_plus12_cls_pred_conv_weight"} <= moved


def test_early_stopping_is_one_decision(two: tuple[Hosts, list[Ended]]):
    _, (first, second) = two
    for end in (first, second):
        assert "Early stopping after epoch 1: no improvement for 1 epochs" in end.log
    assert first.metrics["ended_early"] is True
    assert len(first.metrics["epochs"]) == 2


@pytest.mark.long
def test_three_hosts_update_as_they_come(tmp_path: Path):
    hosts = make_hosts(tmp_path, 3, *(*TINY, "--train", "7"), **ONE_EPOCH_OF_LEARNING, kv_store="dist_async")
    try:
        ended = hosts.run()
    finally:
        hosts.clean_up()
    assert [end.code for end in ended] == [0, 0, 0], "".join(end.log for end in ended)
    assert "Create Store: dist_async, 3 hosts" in ended[0].log
    weights = hosts[0].weights()
    assert (hosts[1].weights(), hosts[2].weights()) == (weights, weights)
    # The servers' learning rate follows the schedule too.
    assert len(weights) == 2
    assert weights[0] == weights[1]
    # Seven images: two each, then one on the first host alone.
    assert "this host has no images for the last 1 of the 2 steps" in ended[2].log
    assert ended[0].model_files == MODEL


@pytest.mark.long
def test_a_host_without_a_single_image_says_so_and_tells_no_losses(tmp_path: Path):
    hosts = make_hosts(tmp_path, 2, *(*TINY, "--train", "1"), epochs="1")
    try:
        first, second = hosts.run()
    finally:
        hosts.clean_up()
    assert (first.code, second.code) == (0, 0), first.log + second.log
    assert "this host has no image in any step of an epoch: train has 1 image for 2 hosts. It makes the" in second.log
    assert "images for the last" not in second.log
    for metric in ("<loss>=(", "train throughput="):
        assert metric in first.log
        assert metric not in second.log
    assert "Epoch 0: this host has no losses to tell, since no anchor counts (images: 0)" in second.log
    assert first.metrics["epochs"][0]["train"]["images"] == 1
