"""The deploy form, loaded as MXNet's users load it."""

from pathlib import Path

import mxnet as mx
import numpy as np

from sagemaker_ssd.export.deploy import PREFIX, write_deploy
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network


def test_it_detects_in_module_what_the_saved_graph_detects(tmp_path: Path) -> None:
    # One class, so that suppression across classes is the same as within each.
    network = Network("resnet-50", 300, num_classes=1)
    values = initial_parameters(saved_graph(network), 300, seed=1)
    for name, array in values.arguments.items():
        if name.endswith("_pred_conv_weight"):
            array[:] = np.random.RandomState(3).normal(0, 0.003, array.shape)
    write_deploy(tmp_path / "deploy", network, values.arguments, values.states)
    assert sorted(file.name for file in (tmp_path / "deploy").iterdir()) == [
        f"{PREFIX}-0000.params",
        f"{PREFIX}-symbol.json",
    ]
    graph, arguments, states = mx.model.load_checkpoint(str(tmp_path / "deploy" / PREFIX), 0)
    module = mx.mod.Module(graph, label_names=None)
    module.bind([("data", (1, 3, 300, 300))], for_training=False)
    module.set_params(arguments, states)
    image = mx.nd.array(np.random.RandomState(4).uniform(0, 255, (1, 3, 300, 300)))
    module.forward(mx.io.DataBatch([image]), is_train=False)
    (found,) = module.get_outputs()[0].asnumpy()

    executor = saved_graph(network).simple_bind(mx.cpu(), grad_req="null", data=(1, 3, 300, 300), label=(1, 1, 5))
    executor.copy_params_from(values.arguments, values.states)
    (expected,) = executor.forward(is_train=False, data=image)[3].asnumpy()
    assert (expected[:, 0] >= 0).sum() > 10
    np.testing.assert_allclose(found, expected, atol=1e-5)
