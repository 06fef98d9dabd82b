"""The starting values of a network's parameters, and the ones that its graph prescribes for good."""

import re
from dataclasses import dataclass

import mxnet as mx

_INPUTS = ("data", "label")
# The standard deviation of the pixels of ordinary photos (ImageNet's channels have 57 to 58).
_PIXEL_DEVIATION = 58.0
_GAINS = {"conv1_1_weight": 1 / _PIXEL_DEVIATION, "stage3_unit1_sc_weight": 0.3, "stage4_unit1_sc_weight": 0.3}
_HEAD_DEVIATION = 0.001
_ENDS_RESIDUAL_UNIT = re.compile(r"stage\d_unit\d_conv3_weight")


@dataclass(frozen=True)
class Parameters:
    """A network's values by name: `arguments` are trained, `states` are BatchNorm's running mean and variance."""

    arguments: dict[str, mx.nd.NDArray]
    states: dict[str, mx.nd.NDArray]


def initial_parameters(graph: mx.sym.Symbol, image_shape: int, seed: int) -> Parameters:
    """Draw starting values for every parameter of a saved graph.

    Convolutions before a ReLU get He's normal values. The heads start small, so that the first cross entropy is that
    of a guess, log(num_classes + 1). In resnet-50 they read raw sums of residual units: the last convolution of each
    unit starts at zero, so that the units start as identities (Goyal et al. 2017, section 5.1, do it by gamma), and
    the shortcuts into those sums start smaller; with either left out, the first losses rise at the default learning
    rate. conv1_1 of vgg-16 reads pixels that nothing has normalised and starts smaller by their deviation; otherwise
    the second step overflows. Values that the graph itself prescribes (biases 0, the scale of relu4_3) stay.
    """
    mx.random.seed(seed)
    trunk = mx.init.MSRAPrelu(factor_type="in", slope=0)
    heads = mx.init.Normal(_HEAD_DEVIATION)
    prescribed = graph.attr_dict()
    shapes, _, state_shapes = graph.infer_shape(data=(1, 3, image_shape, image_shape), label=(1, 1, 5))

    def drawn(name: str, shape: tuple[int, ...]) -> mx.nd.NDArray:
        values = mx.nd.zeros(shape)
        if _ENDS_RESIDUAL_UNIT.fullmatch(name):
            return values
        initializer = heads if name.endswith("_pred_conv_weight") else trunk
        initializer(mx.init.InitDesc(name, prescribed.get(name)), values)
        return values * _GAINS.get(name, 1.0)

    named = zip(graph.list_arguments(), shapes, strict=True)
    return Parameters(
        arguments={name: drawn(name, shape) for name, shape in named if name not in _INPUTS},
        states={
            name: drawn(name, shape) for name, shape in zip(graph.list_auxiliary_states(), state_shapes, strict=True)
        },
    )


def fixed_gammas(graph: mx.sym.Symbol) -> frozenset[str]:
    """Return the BatchNorm scales that the graph fixes at 1.

    Without a gradient they would only decay, and MXNet sets them to 1 again in a forward pass, which not every host
    makes in every step.
    """
    nodes = graph.attr_dict()
    fixed = {f"{name}_gamma" for name, attributes in nodes.items() if attributes.get("fix_gamma") == "True"}
    # MXNet gives a layer's attributes to its parameters too.
    return frozenset(fixed & set(graph.list_arguments()))


def with_fixed_gammas(graph: mx.sym.Symbol, arguments: dict[str, mx.nd.NDArray]) -> dict[str, mx.nd.NDArray]:
    """Return the arguments with 1 for every scale that the graph fixes, as a forward pass would leave it."""
    return {**arguments, **{name: mx.nd.ones_like(arguments[name]) for name in fixed_gammas(graph)}}
