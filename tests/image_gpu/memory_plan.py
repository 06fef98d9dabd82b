"""The memory of a training step: MXNet's own plan, from graphs that are bound on the CPU to small batches, and what the
matching of anchors with the objects of a crowded image takes besides."""

import json
import re

import mxnet as mx

from sagemaker_ssd.check_gpu.measurements import OBJECTS_OF_A_CROWDED_IMAGE
from sagemaker_ssd.ssd.detect import anchor_boxes
from sagemaker_ssd.ssd.graphs import training_graph
from sagemaker_ssd.ssd.initial_values import fixed_gammas
from sagemaker_ssd.ssd.loss import matching_bytes
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.trainer import Replica

_SMALL, _LARGER = 4, 8


def planned_bytes(base_network: str, image_shape: int, batch_size: int) -> float:
    """Return the bytes of parameters, gradients, momentum, inputs, what the plan has for all between, and matching."""
    network, objects = Network(base_network, image_shape, 20), OBJECTS_OF_A_CROWDED_IMAGE
    graph = training_graph(network, empty_images=True)
    found = []
    for images in (_SMALL, _LARGER):
        replica = Replica(
            graph, mx.cpu(), batch_size=images, image_shape=image_shape, max_objects=objects, frozen=fixed_gammas(graph)
        )
        (planned,) = re.findall(r"Total (\d+) MB allocated", replica.executor.debug_str())
        arrays = [*replica.executor.arg_dict.values(), *replica.gradients.values(), *replica.gradients.values()]
        found.append((int(planned) << 20) + sum(4 * array.size for array in arrays))
    # All of it but the parameters grows with the batch.
    planned = found[0] + (found[1] - found[0]) / (_LARGER - _SMALL) * (batch_size - _SMALL)
    return planned + matching_bytes(batch_size, len(anchor_boxes(network)), objects)


if __name__ == "__main__":
    sizes = {"resnet-50": 32, "vgg-16": 64}
    print(
        json.dumps(
            {
                name: [planned_bytes(name, 300, batch), planned_bytes(name, 300, 2 * batch)]
                for name, batch in sizes.items()
            }
        )
    )
