"""A network's predictions computed in bfloat16: the same layers and parameters, with other convolutions inside.

What is fast is decided here and nowhere else, from the size of a map and its number of channels. It follows what oneDNN
2.4.4, which is in MXNet 1.9.1, does with bfloat16 on CPUs with AMX; docs/benchmarks.md has the figures.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import mxnet as mx
from mxnet.contrib.amp.amp import bfloat16

from sagemaker_ssd.ssd.heads import Predictions, head_layout, multibox_anchors
from sagemaker_ssd.ssd.network import Network

# Operators that compute in bfloat16 what comes to them in bfloat16. All others get float32: L2Normalization has no
# bfloat16, and what follows the heads is small.
_IN_BFLOAT16 = frozenset({"Activation", "BatchNorm", "Pooling", "elemwise_add"})
# A head's channels are no multiple of 16, and convolutions of such are computed by another kernel, up to ten times
# slower: those of one map are computed together, filled up to a multiple of this.
_FEW_CHANNELS, _MULTIPLE = 64, 32
# The gradient of the weights is computed on pieces of a map's width: equal, even, and at most 32 wide. Where they come
# out narrower than this, a wider map is faster although some of it is thrown away.
_NARROW, _WIDEST, _MANY_CHANNELS = 10, 32, 256
_Node = dict[str, Any]


def predictions_in_bfloat16(
    predictions: Predictions,
    network: Network,
    *,
    trained: Collection[str] = (),
    cast_weights: bool = True,
    dtype: Any = bfloat16,
) -> Predictions:
    """Return the same predictions, as float32, of convolutions in bfloat16.

    Anchors and all parameters of BatchNorm stay float32.
    trained: the names of the arguments whose gradients are wanted; they decide which convolutions are widened.
    cast_weights: whether weights are float32 and cast in every pass, or bfloat16 already (`weights_in_bfloat16`).
    dtype: float32 gives the same graph without the rounding, which shows that nothing else has changed.
    """
    size = network.image_shape
    graph = mx.sym.Group([predictions.locations, predictions.classes])
    locations, classes = _Rewriting(graph, size, trained, cast_weights=cast_weights, dtype=dtype).outputs()
    _, shapes, _ = mx.sym.Group(predictions.maps).infer_shape(data=(1, 3, size, size))
    # MultiBoxPrior has no bfloat16. It looks at shapes alone, and on the float32 maps it would have them computed too.
    maps = [mx.sym.zeros((1, 1, *shape[2:])) for shape in shapes]
    names = [feature.name for feature in predictions.maps]
    anchors = multibox_anchors(names, maps, head_layout(network.base_network, size))
    return Predictions(locations, classes, anchors, predictions.maps)


def weights_in_bfloat16(arguments: Mapping[str, mx.nd.NDArray]) -> dict[str, mx.nd.NDArray]:
    """Return a network's arguments with the convolutions' weights and biases rounded once, for detection."""
    return {
        name: array.astype(bfloat16) if name.endswith(("_weight", "_bias")) else array
        for name, array in arguments.items()
    }


def extra_width(width: int) -> int:
    """Return by how many columns, an even number, a map of this width should be wider; 0 where it is well as it is."""
    if _piece(width) >= _NARROW:
        return 0
    # More than a tenth of the map would cost what the better pieces give.
    return next((extra for extra in range(2, width // 10 + 1, 2) if _piece(width + extra) >= _NARROW), 0)


def _piece(width: int) -> int:
    even = width + width % 2
    return max(piece for piece in range(2, _WIDEST + 1, 2) if even % piece == 0)


class _Rewriting:
    """Builds the nodes of a float32 graph anew, each in the number format that suits it."""

    def __init__(
        self, graph: mx.sym.Symbol, size: int, trained: Collection[str], *, cast_weights: bool, dtype: Any
    ) -> None:
        self._trained, self._cast_weights, self._dtype = trained, cast_weights, dtype
        described = json.loads(graph.tojson())
        self._nodes: list[_Node] = described["nodes"]
        self._outputs = [output[0] for output in described["heads"]]
        self._internals = graph.get_internals()
        _, shapes, _ = self._internals.infer_shape(data=(1, 3, size, size))
        self._shapes = dict(zip(self._internals.list_outputs(), shapes, strict=True))
        self._groups = self._convolutions_of_one_map()
        # By a node's number, in the format in which it was computed first.
        self._float32: dict[int, mx.sym.Symbol] = {}
        self._rounded: dict[int, mx.sym.Symbol] = {}

    def outputs(self) -> list[mx.sym.Symbol]:
        """Return the graph's outputs, as float32."""
        for number in range(len(self._nodes)):
            self._build(number)
        return [self._as_float32(output) for output in self._outputs]

    def _convolutions_of_one_map(self) -> dict[int, list[int]]:
        """Return, for each convolution of few channels, all that read its map through a window of the same size."""
        groups = defaultdict(list)
        for number, node in enumerate(self._nodes):
            if node["op"] == "Convolution" and int(node["attrs"]["num_filter"]) < _FEW_CHANNELS:
                groups[node["inputs"][0][0], node["attrs"]["kernel"]].append(number)
        return {number: group for group in groups.values() for number in group}

    def _build(self, number: int) -> None:
        if number in self._float32 or number in self._rounded:
            return
        node = self._nodes[number]
        sources = [source for source, *_ in node["inputs"]]
        for source in sources:
            self._build(source)
        if node["op"] == "null":
            self._float32[number] = self._variable(node)
        elif node["op"] == "Convolution":
            self._convolve(self._groups.get(number, [number]))
        elif node["op"] in _IN_BFLOAT16 and sources[0] in self._rounded:
            # The other inputs of BatchNorm are its parameters.
            others = self._as_float32 if node["op"] == "BatchNorm" else self._as_rounded
            self._rounded[number] = _computed(node, [self._rounded[sources[0]], *map(others, sources[1:])])
        else:
            self._float32[number] = _computed(node, list(map(self._as_float32, sources)))

    def _variable(self, node: _Node) -> mx.sym.Symbol:
        if node["name"] == "data":
            return self._internals["data"]
        # With its shape, which MXNet cannot tell backwards through weights that are joined.
        shape = {"__shape__": str(self._shapes[node["name"]])}
        return mx.sym.Variable(node["name"], attr={**node.get("attrs", {}), **shape})

    def _as_float32(self, number: int) -> mx.sym.Symbol:
        if number not in self._float32:
            self._float32[number] = mx.sym.amp_cast(self._rounded[number], dtype="float32")
        return self._float32[number]

    def _as_rounded(self, number: int) -> mx.sym.Symbol:
        if number not in self._rounded:
            self._rounded[number] = mx.sym.amp_cast(self._float32[number], dtype=self._dtype)
        return self._rounded[number]

    def _parameter(self, parts: Sequence[mx.sym.Symbol], missing: tuple[int, ...] | None) -> mx.sym.Symbol:
        """Return the weights or biases of several convolutions as those of one, with zeros for channels to fill up."""
        if missing:
            zeros = mx.sym.zeros(missing)
            parts = [*parts, zeros if self._cast_weights else mx.sym.amp_cast(zeros, dtype=self._dtype)]
        joined = parts[0] if len(parts) == 1 else mx.sym.concat(*parts, dim=0)
        return mx.sym.amp_cast(joined, dtype=self._dtype) if self._cast_weights else joined

    def _convolve(self, numbers: Sequence[int]) -> None:
        """Compute convolutions that read one map, as one."""
        nodes = [self._nodes[number] for number in numbers]
        for source, *_ in (given for node in nodes for given in node["inputs"][1:]):
            self._build(source)
        first = nodes[0]
        channels = [int(node["attrs"]["num_filter"]) for node in nodes]
        missing = -sum(channels) % _MULTIPLE
        inputs = [self._as_rounded(first["inputs"][0][0])]
        for place in range(1, len(first["inputs"])):
            parts = [self._float32[node["inputs"][place][0]] for node in nodes]
            shape = self._shape(first["inputs"][place][0])
            inputs.append(self._parameter(parts, (missing, *shape[1:]) if missing else None))
        total = sum(channels) + missing
        convolved = self._convolution(first, inputs, total)
        if len(numbers) == 1 and not missing:
            self._rounded[numbers[0]] = convolved
            return
        begin = 0
        for number, count in zip(numbers, channels, strict=True):
            self._rounded[number] = mx.sym.slice_axis(convolved, axis=1, begin=begin, end=begin + count)
            begin += count

    def _convolution(self, node: _Node, inputs: list[mx.sym.Symbol], channels: int) -> mx.sym.Symbol:
        extra = 0
        attributes = {**node["attrs"], "num_filter": channels}
        weight = self._nodes[node["inputs"][1][0]]["name"]
        kernel, stride = _pair(attributes["kernel"]), _pair(attributes.get("stride", "(1, 1)"))
        # Of a 1x1 convolution, and of few channels, the cut and what is computed for nothing cost what is gained.
        many = self._shape(node["inputs"][1][0])[1] >= _MANY_CHANNELS
        if weight in self._trained and many and kernel != (1, 1) and stride == (1, 1):
            extra = extra_width(self._shapes[f"{node['name']}_output"][3])
            tall, wide = _pair(attributes.get("pad", "(0, 0)"))
            attributes["pad"] = (tall, wide + extra // 2)
        convolved = mx.sym.Convolution(*inputs, name=node["name"], **attributes)
        if not extra:
            return convolved
        return mx.sym.slice_axis(convolved, axis=3, begin=extra // 2, end=-(extra // 2))

    def _shape(self, number: int) -> tuple[int, ...]:
        name = self._nodes[number]["name"]
        shape: tuple[int, ...] = self._shapes[name] if name in self._shapes else self._shapes[f"{name}_output"]
        return shape


def _computed(node: _Node, inputs: Sequence[mx.sym.Symbol]) -> mx.sym.Symbol:
    attributes = {name: value for name, value in node.get("attrs", {}).items() if not name.startswith("__")}
    # MXNet keeps the functions whose names begin with an underscore, such as _copy, in a module of their own.
    functions = mx.sym._internal if node["op"].startswith("_") else mx.sym
    return getattr(functions, node["op"])(*inputs, name=node["name"], **attributes)


def _pair(attribute: str) -> tuple[int, int]:
    first, second = (int(number) for number in attribute.strip("()").split(","))
    return first, second
