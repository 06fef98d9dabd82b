"""Networks with random values in ONNX, as the ONNX model zoo's files are."""

import functools
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

VGG_FILTERS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Zoo:
    """Writes a graph as the zoo's files are: opset 7, IR version 3, initialisers among the inputs, plain names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.values: dict[str, np.ndarray] = {}
        self.draw = np.random.default_rng(5)
        self.maps: list[str] = []

    def add(self, kind: str, *inputs: str, **attributes: object) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"n{len(self.nodes)}", **attributes))
        return output

    def value(self, array: np.ndarray) -> str:
        name = f"w{len(self.values)}"
        self.values[name] = np.asarray(array, np.float32)
        return name

    def conv(self, data: str, inputs: int, filters: int, kernel: int, stride=1, *, bias=False) -> str:
        weight = self.draw.normal(0, (2 / (inputs * kernel**2)) ** 0.5, (filters, inputs, kernel, kernel))
        given = [self.value(weight)] + ([self.value(self.draw.normal(0, 0.05, filters))] if bias else [])
        window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [kernel // 2] * 4, "group": 1}
        return self.add("Conv", data, *given, dilations=[1, 1], **window)

    def batch_norm(self, data: str, channels: int, eps: float) -> str:
        draw = self.draw
        drawn = draw.uniform(0.5, 1.5, channels), draw.normal(0, 0.05, channels), draw.normal(0, 0.05, channels)
        given = [*drawn, draw.uniform(0.2, 1, channels)]
        return self.add("BatchNormalization", data, *map(self.value, given), epsilon=eps, momentum=0.9, spatial=1)

    def pool(self, data: str, kernel: int, pad: int) -> str:
        return self.add("MaxPool", data, kernel_shape=[kernel] * 2, strides=[2, 2], pads=[pad] * 4)

    def resnet50(self) -> "Zoo":
        body = self.batch_norm("pixels", 3, 1e-3)
        body = self.add("Relu", self.batch_norm(self.conv(body, 3, 64, 7, 2), 64, 1e-5))
        body, channels = self.pool(body, 3, 1), 64
        for stage, (units, filters) in enumerate(zip((3, 4, 6, 3), (256, 512, 1024, 2048), strict=True)):
            for unit in range(units):
                active = self.add("Relu", self.batch_norm(body, channels, 1e-5))
                stride = 2 if stage and not unit else 1
                # The shortcut comes first, where a name or an order would not tell it from conv1.
                shortcut = body if unit else self.conv(active, channels, filters, 1, stride)
                deep = self.conv(active, channels, filters // 4, 1)
                deep = self.add("Relu", self.batch_norm(deep, filters // 4, 1e-5))
                deep = self.conv(deep, filters // 4, filters // 4, 3, stride)
                deep = self.add("Relu", self.batch_norm(deep, filters // 4, 1e-5))
                deep = self.add("Identity", self.conv(deep, filters // 4, filters, 1))
                body, channels = self.add("Add", shortcut, deep), filters
                self.maps.append(body)
        self.maps = [self.maps[12], self.maps[15]]
        self.add("GlobalAveragePool", self.add("Relu", self.batch_norm(body, 2048, 1e-5)))
        return self

    def vgg16(self, dense: tuple[int, ...] = ()) -> "Zoo":
        """dense: the outputs of fc6 and fc7, of which fc6 has 512 inputs here, as for an image of 32 pixels."""
        body, channels = "pixels", 3
        for group in VGG_FILTERS:
            for filters in group:
                body, channels = self.add("Relu", self.conv(body, channels, filters, 3, bias=True)), filters
            self.maps.append(body)
            body = self.pool(body, 2, 0)
        self.maps = self.maps[3:]
        inputs = 512
        body = self.add("Flatten", body) if dense else body
        for number, outputs in enumerate(dense):
            weight = self.draw.normal(0, 0.01, (outputs, inputs))
            given = [self.value(weight if number == 0 else weight.T), self.value(self.draw.normal(size=outputs))]
            body = self.add("Gemm", body, *given, transB=1 - number, alpha=1.0, beta=1.0)
            body, inputs = self.add("Dropout", self.add("Relu", body), ratio=0.5), outputs
        return self

    def model(self) -> onnx.ModelProto:
        info = helper.make_tensor_value_info
        stored = [info(name, onnx.TensorProto.FLOAT, values.shape) for name, values in self.values.items()]
        pixels = info("pixels", onnx.TensorProto.FLOAT, [1, 3, "height", "width"])
        output = info(self.nodes[-1].output[0], onnx.TensorProto.FLOAT, None)
        tensors = [numpy_helper.from_array(values, name) for name, values in self.values.items()]
        # The pixels are not the first of the inputs.
        graph = helper.make_graph(self.nodes, "zoo", [*stored, pixels], [output], tensors)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 7)], producer_name="a zoo")
        model.ir_version = 3
        return model


@functools.cache
def resnet50() -> tuple[onnx.ModelProto, list[str]]:
    """Draw the network once; return its file's content, and the tensors of our _plus12 and _plus15."""
    zoo = Zoo().resnet50()
    return zoo.model(), zoo.maps


@functools.cache
def vgg16() -> tuple[onnx.ModelProto, list[str]]:
    """Draw the network once; return its file's content, and the tensors of our relu4_3 and relu5_3."""
    zoo = Zoo().vgg16()
    return zoo.model(), zoo.maps


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "anything"
    path.write_bytes(model.SerializeToString())
    return path
