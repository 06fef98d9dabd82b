"""What is known of cards without one, as far as the CPU wheel tells; tests/image_gpu asks the GPU wheel the same."""

import importlib.util
import json
from pathlib import Path

import pytest

from image_gpu.gpu_kernels import KERNELS, UPDATES, missing
from image_gpu.memory_plan import planned_bytes
from sagemaker_ssd.ssd.graphs import deploy_graph, detection_graph, saved_graph, training_graph
from sagemaker_ssd.ssd.network import Network

GIB = 1 << 30


@pytest.mark.parametrize("base_network", ["resnet-50", "vgg-16"])
def test_the_kernels_of_every_operator_are_looked_for(base_network: str):
    network = Network(base_network, 300, 3)
    frozen = network.freeze("^(bn_data|conv0|conv1_).*")
    training = training_graph(network, empty_images=True, frozen=frozen)
    for graph in (saved_graph(network), training, detection_graph(network), deploy_graph(network)):
        operators = {node["op"] for node in json.loads(graph.tojson())["nodes"]} - {"null"}
        assert operators <= KERNELS.keys()


def test_a_library_without_gpu_kernels_lacks_them_all():
    found = importlib.util.find_spec("mxnet")
    assert found is not None
    assert found.origin is not None
    assert missing(Path(found.origin).parent / "libmxnet.so") == [*KERNELS, *UPDATES]


@pytest.mark.parametrize(("base_network", "batch_size", "gib"), [("resnet-50", 32, 5.2), ("vgg-16", 64, 10.0)])
def test_the_documented_batches_fit_into_16_gb(base_network: str, batch_size: int, gib: float):
    # Measured once; a graph that needs more is noticed.
    assert planned_bytes(base_network, 300, batch_size) / GIB == pytest.approx(gib, rel=0.03)
