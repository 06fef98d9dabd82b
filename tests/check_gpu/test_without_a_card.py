"""What is known of cards without one, as far as the CPU wheel tells; tests/image_gpu asks the GPU wheel the same."""

import importlib.util
import json
from pathlib import Path

import mxnet as mx
import pytest

from image_gpu.gpu_kernels import KERNELS, UPDATES, missing
from image_gpu.memory_plan import planned_bytes
from sagemaker_ssd.ssd.graphs import deploy_graph, detection_graph, saved_graph, training_graph
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.optimizer import Optimizer, OptimizerSettings

GIB = 1 << 30


@pytest.mark.parametrize("base_network", ["resnet-50", "vgg-16"])
def test_the_kernels_of_every_operator_are_looked_for(base_network: str):
    network = Network(base_network, 300, 3)
    frozen = network.freeze("^(bn_data|conv0|conv1_).*")
    training = training_graph(network, empty_images=True, frozen=frozen)
    detecting = (detection_graph(network), detection_graph(network, all_classes=True), deploy_graph(network))
    for graph in (saved_graph(network), training, *detecting):
        operators = {node["op"] for node in json.loads(graph.tojson())["nodes"]} - {"null"}
        assert operators <= KERNELS.keys()


@pytest.mark.parametrize(
    ("name", "momentum", "update"),
    [
        ("sgd", 0.9, "multi_sgd_mom_update"),
        ("sgd", 0.0, "multi_sgd_update"),
        ("adam", 0.0, "adam_update"),
        ("rmsprop", 0.0, "rmsprop_update"),
        ("adadelta", 0.0, "broadcast_div"),
    ],
)
def test_the_kernels_of_every_update_are_looked_for(name: str, momentum: float, update: str, tmp_path: Path):
    settings = OptimizerSettings(name, 0.01, momentum, 0.0005, clip_gradient=1.0)
    optimizer = Optimizer(settings, mx.sym.Variable("weight"), ["weight"], 1)
    gradient, weight = mx.nd.ones((3, 2)), mx.nd.ones((3, 2))
    mx.profiler.set_config(profile_imperative=True, aggregate_stats=True, filename=str(tmp_path / "profile.json"))
    mx.nd.waitall()
    mx.profiler.set_state("run")
    optimizer.step([[gradient]], [[weight]], 0.01)
    mx.nd.waitall()
    mx.profiler.set_state("stop")
    # Not operators: memory is given back, and the generators of random numbers get their seeds.
    called = json.loads(mx.profiler.dumps(reset=True, format="json"))["Time"]["operator"].keys()
    called -= {"DeleteVariable", "ResourceParallelRandomSetSeed"}
    assert update in called
    assert called <= KERNELS.keys() | UPDATES.keys()


def test_a_library_without_gpu_kernels_lacks_them_all():
    found = importlib.util.find_spec("mxnet")
    assert found is not None
    assert found.origin is not None
    assert missing(Path(found.origin).parent / "libmxnet.so") == [*KERNELS, *UPDATES]


@pytest.mark.parametrize(("base_network", "batch_size", "gib"), [("resnet-50", 32, 5.5), ("vgg-16", 64, 12.3)])
def test_the_documented_batches_fit_into_16_gb(base_network: str, batch_size: int, gib: float):
    # Measured once; a graph that needs more is noticed.
    assert planned_bytes(base_network, 300, batch_size) / GIB == pytest.approx(gib, rel=0.03)
