"""Gluon's vgg16 and resnet50_v2 in ONNX, as the ONNX model zoo has them: found by structure, whatever the names.

A file is walked from its input on, layer by layer as the network must be: every convolution with its kernel, stride and
padding, every sum with what it adds. So nothing is taken from a file that computes something else.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import mxnet as mx
import onnx

from sagemaker_ssd.artifacts.onnx_file import tensor_values
from sagemaker_ssd.artifacts.params_file import fault_of_name
from sagemaker_ssd.errors import listed, shown
from sagemaker_ssd.pretrained.trunk import (
    FULL_SHAPES,
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    SUB_SAMPLED_NOTE,
    Shape,
    Values,
    fit_resnet,
    fit_vgg,
    sub_sampled,
    take,
    trunk_shapes,
)

# The zoo's read RGB of 0-255 minus IMAGENET_MEAN over IMAGENET_DEVIATION (its own pages). Others of the same structure
# may read other pixels, as MXNet's own resnet-50 does, exported to ONNX: there bn_data tells, in a VGG-16 nothing does.
ZOO_NAMES: Final = {"vgg-16": "vgg16", "resnet-50": "resnet50_v2"}
# What gives its input on while nothing is trained.
_PASSING: Final = frozenset({"Identity", "Dropout"})
# What only arranges the last feature map for the dense layers.
_FLATTENING: Final = frozenset({"Flatten", "Reshape"})
_FIRST_EPS: Final = 1e-5
# Of the networks that are looked for, many times over; a walk through more would only take time.
_MOST_NODES: Final = 10_000
_VGG_LAYER: Final = re.compile(r"(conv([1-5])_\d)_weight")


class OtherStructureError(Exception):
    """Says at which place a graph is not the network that was looked for."""


@dataclass
class OnnxTrunk:
    """Where a trunk is in an ONNX graph.

    file_names: our parameter -> the name of its values in the file. transposed: those of them that are (inputs,
    outputs). eps: of each BatchNorm. input: the tensor of pixels. first: the first convolution. maps: our layer -> its
    output's tensor, of the layers that a person may want to compare.
    """

    input: str
    first: onnx.NodeProto | None = None
    file_names: dict[str, str] = field(default_factory=dict)
    transposed: set[str] = field(default_factory=set)
    eps: dict[str, float] = field(default_factory=dict)
    maps: dict[str, str] = field(default_factory=dict)


def find_trunk(model: onnx.ModelProto, base_network: str) -> OnnxTrunk:
    """Walk a graph as the trunk of `base_network` ("vgg-16" or "resnet-50") is; raises OtherStructureError."""
    try:
        walk = _Walk(model.graph)
        return walk.resnet50() if base_network == "resnet-50" else walk.vgg16()
    # What nodes without outputs and attributes of another kind lead to.
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise OtherStructureError(f"a node of it is not as its kind must be ({error})") from error


def from_onnx(model: onnx.ModelProto, base_network: str, shown_as: str) -> tuple[Values, list[str], list[str]]:
    """Return the trunk's values under our names, what was changed, and the names of the values that were left out.

    Raises OtherStructureError where the graph is another network, and UserError for values that cannot be used.
    """
    trunk = find_trunk(model, base_network)
    stored = _constants(model.graph)
    arrays = {}
    for ours, name in trunk.file_names.items():
        numbers = tensor_values(stored[name], shown_as)
        arrays[name] = mx.nd.array(numbers.T if ours in trunk.transposed else numbers, dtype="float32")
    shapes: dict[str, tuple[Shape, ...]] = {name: (shape,) for name, shape in trunk_shapes(base_network).items()}
    if base_network == "vgg-16":
        shapes |= FULL_SHAPES
    values = take(arrays, trunk.file_names, shapes, shown_as)
    if base_network == "resnet-50":
        notes = fit_resnet(values, trunk.eps, trunk.file_names, shown_as)
    else:
        notes = fit_vgg(values, IMAGENET_MEAN, IMAGENET_DEVIATION)
        if reduced := sub_sampled(values):
            values |= reduced
            notes.append(SUB_SAMPLED_NOTE)
    return values, notes, sorted(set(stored) - set(trunk.file_names.values()))


def _constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Return stored tensors by name: initialisers, and what nodes of kind Constant hold."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for entry in node.attribute:
                if entry.name == "value":
                    stored[node.output[0]] = entry.t
    return stored


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def _name(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {shown(node.name or (node.output[0] if node.output else ''))}"


class _Walk:
    """Goes through a graph from tensor to tensor."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._stored = _constants(graph)
        self._readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        self._makers: dict[str, onnx.NodeProto] = {}
        # Before version 4 of the format, initialisers are listed among the inputs.
        inputs = [entry.name for entry in graph.input if entry.name not in self._stored]
        if len(inputs) != 1:
            raise OtherStructureError(f"it has {len(inputs)} inputs instead of one, the pixels")
        self.found = OnnxTrunk(inputs[0])
        if len(graph.node) > _MOST_NODES:
            raise OtherStructureError(f"it has {len(graph.node):,} nodes; {_MOST_NODES:,} are allowed")
        for name in self._stored:
            if fault := fault_of_name(name):
                raise OtherStructureError(f"the name of an array {fault}")
        there = {"", inputs[0], *self._stored}
        for node in graph.node:
            if node.domain not in ("", "ai.onnx"):
                raise OtherStructureError(f"{_name(node)} is no standard operator")
            # As the format wants both; so no walk goes in a circle.
            if not there.issuperset(node.input):
                raise OtherStructureError(f"{_name(node)} reads what no node before it makes")
            made = [name for name in node.output if name]
            # What nodes of kind Constant make is there from the start.
            if node.op_type != "Constant" and (len(made) > len(set(made)) or not there.isdisjoint(made)):
                raise OtherStructureError(f"{_name(node)} makes what is there before it")
            there.update(made)
            for name in dict.fromkeys(node.input):
                self._readers[name].append(node)
            self._makers |= dict.fromkeys(node.output, node)

    def vgg16(self) -> OnnxTrunk:
        tensor, group = self.found.input, "1"
        for parameter in trunk_shapes("vgg-16"):
            if (match := _VGG_LAYER.fullmatch(parameter)) is None:
                continue
            if match[2] != group:
                tensor, group = self._pool(tensor, kernel=2, stride=2, pad=0), match[2]
            tensor = self._relu(self._convolution(tensor, match[1], kernel=3, pad=1, bias=True))
            self.found.maps[f"relu{match[1].removeprefix('conv')}"] = tensor
        if tensor in self._readers:
            tensor = self._pool(tensor, kernel=2, stride=2, pad=0)
            for name in ("fc6", "fc7"):
                if (dense := self._dense(tensor, name)) is None:
                    break
                tensor = self._relu(dense)
        return self.found

    def resnet50(self) -> OnnxTrunk:
        shapes = trunk_shapes("resnet-50")
        tensor = self._batch_norm(self.found.input, "bn_data")
        tensor = self._batch_norm(self._convolution(tensor, "conv0", kernel=7, stride=2, pad=3), "bn0")
        tensor = self._pool(self._relu(tensor), kernel=3, stride=2, pad=1)
        sums = 0
        for stage in range(1, 5):
            unit = 1
            while f"stage{stage}_unit{unit}_conv1_weight" in shapes:
                stride = 2 if unit == 1 and stage > 1 else 1
                tensor = self._unit(tensor, f"stage{stage}_unit{unit}", stride, first=unit == 1)
                self.found.maps[f"_plus{sums}"] = tensor
                sums, unit = sums + 1, unit + 1
        return self.found

    def _unit(self, tensor: str, name: str, stride: int, *, first: bool) -> str:
        active = self._relu(self._batch_norm(tensor, f"{name}_bn1"))
        shortcut = tensor
        nodes = self._read_by(active, "Conv")
        if first:
            ends = [node for node in nodes if any(reader.op_type == "Add" for reader in self._all(node.output[0]))]
            if len(nodes) != 2 or len(ends) != 1:
                raise OtherStructureError(
                    f"behind {shown(active)} there is no residual unit with a shortcut of its own"
                )
            shortcut = self._convolved(ends[0], f"{name}_sc", kernel=1, stride=stride, pad=0)
            nodes = [node for node in nodes if node is not ends[0]]
        body = self._convolved(self._only(nodes, "Conv", active), f"{name}_conv1", kernel=1, pad=0)
        body = self._relu(self._batch_norm(body, f"{name}_bn2"))
        body = self._convolution(body, f"{name}_conv2", kernel=3, stride=stride, pad=1)
        body = self._relu(self._batch_norm(body, f"{name}_bn3"))
        body = self._convolution(body, f"{name}_conv3", kernel=1, pad=0)
        node = self._next(body, "Add")
        if len(node.input) != 2 or sorted(map(self._origin, node.input)) != sorted((body, self._origin(shortcut))):
            raise OtherStructureError(f"{_name(node)} does not add the shortcut of its residual unit")
        return str(node.output[0])

    def _origin(self, tensor: str) -> str:
        while (node := self._makers.get(tensor)) is not None and node.op_type in _PASSING:
            tensor = node.input[0]
        return tensor

    def _all(self, tensor: str) -> Iterator[onnx.NodeProto]:
        """Give every node that reads a tensor, or what only passes it on."""
        waiting, seen = [tensor], set()
        while waiting:
            for node in self._readers.get(waiting.pop(), ()):
                if node.op_type not in _PASSING:
                    yield node
                elif node.output[0] not in seen:
                    seen.add(node.output[0])
                    waiting.append(node.output[0])

    def _read_by(self, tensor: str, kind: str) -> list[onnx.NodeProto]:
        return [node for node in self._all(tensor) if node.op_type == kind]

    def _next(self, tensor: str, kind: str) -> onnx.NodeProto:
        return self._only(self._read_by(tensor, kind), kind, tensor)

    def _only(self, nodes: list[onnx.NodeProto], kind: str, tensor: str) -> onnx.NodeProto:
        if len(nodes) != 1:
            there = sorted({node.op_type for node in self._all(tensor)})
            found = f"{len(nodes)} of them" if nodes else listed(there, "and") if there else "nothing"
            raise OtherStructureError(f"behind {shown(tensor)} there must be one {kind}, and there is {found}")
        return nodes[0]

    def _note(self, ours: str, node: onnx.NodeProto, place: int) -> None:
        name = node.input[place] if place < len(node.input) else ""
        if name not in self._stored:
            raise OtherStructureError(f"{_name(node)} computes values that must be stored")
        self.found.file_names[ours] = name

    def _convolution(
        self, tensor: str, name: str, *, kernel: int, pad: int, stride: int = 1, bias: bool = False
    ) -> str:
        node = self._next(tensor, "Conv")
        return self._convolved(node, name, kernel=kernel, pad=pad, stride=stride, bias=bias)

    def _convolved(
        self, node: onnx.NodeProto, name: str, *, kernel: int, pad: int, stride: int = 1, bias: bool = False
    ) -> str:
        given = _attributes(node)
        side = self._stored[node.input[1]].dims[-1:] if node.input[1:2] and node.input[1] in self._stored else [kernel]
        _check_window(node, {"kernel_shape": [*side, *side], **given}, kernel, stride, pad)
        for attribute, value in (("group", 1), ("dilations", [1, 1])):
            if given.get(attribute, value) not in (value, []):
                raise OtherStructureError(f"{_name(node)} has {attribute} {given[attribute]}, and must have {value}")
        self._note(f"{name}_weight", node, 1)
        if bias:
            self._note(f"{name}_bias", node, 2)
        elif len(node.input) > 2:
            raise OtherStructureError(f"{_name(node)} has a bias, and must have none")
        self.found.first = self.found.first or node
        return str(node.output[0])

    def _pool(self, tensor: str, *, kernel: int, stride: int, pad: int) -> str:
        node = self._next(tensor, "MaxPool")
        given = _attributes(node)
        _check_window(node, given, kernel, stride, pad)
        if given.get("ceil_mode", 0) or given.get("dilations", [1, 1]) != [1, 1]:
            raise OtherStructureError(f"{_name(node)} rounds up, or leaves gaps")
        return str(node.output[0])

    def _relu(self, tensor: str) -> str:
        return str(self._next(tensor, "Relu").output[0])

    def _batch_norm(self, tensor: str, name: str) -> str:
        node = self._next(tensor, "BatchNormalization")
        for place, kind in enumerate(("gamma", "beta", "moving_mean", "moving_var"), start=1):
            self._note(f"{name}_{kind}", node, place)
        self.found.eps[name] = float(_attributes(node).get("epsilon", _FIRST_EPS))
        return str(node.output[0])

    def _dense(self, tensor: str, name: str) -> str | None:
        """Find a dense layer; None where something else follows, or nothing."""
        nodes = list(self._all(tensor))
        while len(nodes) == 1 and nodes[0].op_type in _FLATTENING:
            nodes = list(self._all(nodes[0].output[0]))
        if len(nodes) != 1 or nodes[0].op_type not in ("Gemm", "MatMul"):
            return None
        node, given = nodes[0], _attributes(nodes[0])
        if given.get("alpha", 1) != 1 or given.get("beta", 1) != 1 or given.get("transA", 0):
            raise OtherStructureError(f"{_name(node)} is more than a dense layer")
        self._note(f"{name}_weight", node, 1)
        if not given.get("transB", 0):
            self.found.transposed.add(f"{name}_weight")
        if node.op_type == "MatMul":
            node = self._next(node.output[0], "Add")
            self._note(f"{name}_bias", node, 1 if len(node.input) > 1 and node.input[1] in self._stored else 0)
        else:
            self._note(f"{name}_bias", node, 2)
        return str(node.output[0])


def _check_window(node: onnx.NodeProto, given: Mapping[str, Any], kernel: int, stride: int, pad: int) -> None:
    """Raise unless a convolution or a pooling looks at the pixels that ours looks at."""
    padded = str(given.get("auto_pad", b"NOTSET").decode())
    wanted = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
    defaults = {"kernel_shape": [], "strides": [1, 1], "pads": [0] * 4}
    found = {name: list(given.get(name) or default) for name, default in defaults.items()}
    for name, value in wanted.items():
        if found[name] != value:
            raise OtherStructureError(f"{_name(node)} has {name} {found[name]}, and must have {value}")
    if padded not in ("NOTSET", "VALID" if pad == 0 else "NOTSET"):
        raise OtherStructureError(f"{_name(node)} has auto_pad {padded}")
