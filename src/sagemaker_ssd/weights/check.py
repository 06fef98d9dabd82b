"""Runs a source's own file beside its conversion on one drawn picture: ONNX in onnxruntime, a .pth in torchvision."""

import io
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import cv2
import mxnet as mx
import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from sagemaker_ssd.artifacts.onnx_file import read_onnx_file
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.pretrained.conversion import converted_file
from sagemaker_ssd.pretrained.onnx_networks import OnnxTrunk, find_trunk
from sagemaker_ssd.pretrained.trunk import IMAGENET_DEVIATION, IMAGENET_MEAN
from sagemaker_ssd.ssd.initial_values import Parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.weights.download import check, download
from sagemaker_ssd.weights.sources import Source

Values = npt.NDArray[np.float32]
# A map's largest difference, as a part of its largest value, up to which two programs compute the same.
_SAME: Final = 1e-4
_CLASSIFIER_SIDE: Final = 224
# Of the shorter side, before the middle is cut out: what ImageNet's classifiers are tested with.
_SHORT_SIDE: Final = 256
_DETECTOR_SIDE: Final = 300
_BEST: Final = 5
_NAME_ANOTHER: Final = (
    "Name a Python that has torchvision: --python .venv-torchvision/bin/python, after `make "
    ".venv-torchvision/.complete`"
)
# What runs where torchvision is: RGB of [0, 1] in, the maps that the heads read and the raw offsets out.
TORCHVISION: Final = """
import sys
import numpy as np
import torch
from torchvision.models.detection import ssd300_vgg16
state = torch.load(sys.argv[1], weights_only=True)
classes = state["head.classification_head.module_list.0.bias"].numel() // 4
model = ssd300_vgg16(weights=None, weights_backbone=None, num_classes=classes).eval()
model.load_state_dict(state)
with torch.no_grad():
    pixels = model.transform.normalize(torch.from_numpy(np.load(sys.argv[2])))
    maps = list(model.backbone(pixels[None]).values())
    offsets = model.head.regression_head(maps)
np.savez(sys.argv[3], *[values.numpy() for values in (*maps, offsets)])
"""


def check_conversion(source: Source, file: Path | None, picture: Path | None, python: str) -> int:
    """Compare a source's file with its conversion, print the differences, and return 0 where there are none.

    file: None to fetch it. picture: of a classifier, a photo whose best classes are printed. python: for a detector, an
    interpreter that has torchvision. Raises UserError.
    """
    if not source.addresses or source.packed:
        raise UserError(
            f"{source.base_network} {source.name} has no file that another program runs; check onnx-zoo, or for vgg-16 "
            "coco-ssd"
        )
    if source.name == "coco-ssd" and picture is not None:
        raise UserError("--picture is for classifiers of ImageNet; coco-ssd is a detector")
    # Before the file is downloaded, which takes longest.
    if source.file.endswith(".onnx"):
        _onnxruntime()
    else:
        _check_torchvision(python)
    with tempfile.TemporaryDirectory(prefix="weights-") as temporary:
        if file is None:
            file, _ = download(source, Path(temporary))
        check(source, file)
        return compare(file, source.base_network, picture, python, Path(temporary))


def compare(file: Path, base_network: str, picture: Path | None, python: str, scratch: Path) -> int:
    """Compare any file of a source's kind with its conversion, as `check_conversion` does after the checksum."""
    converted = converted_file(file, base_network, file.name, scratch)
    print(f"{file.name}: {converted.layout}; {'; '.join(converted.notes)}")
    if converted.layout.startswith("ONNX"):
        model = read_onnx_file(file, file.name)
        trunk = find_trunk(model, base_network)
        same = _compare_onnx(model, trunk, base_network, converted.parameters)
        if picture is not None:
            _print_classes(model, trunk, base_network, converted.parameters, picture)
    else:
        same = _compare_torchvision(file, converted.parameters, python, scratch)
    print("The conversion computes what the file computes." if same else "The conversion computes SOMETHING ELSE.")
    return 0 if same else 1


def drawn_picture(side: int) -> Values:
    """Draw a picture of (side, side, 3), RGB 0-255: slopes, shapes and some noise."""
    place = np.linspace(0, 1, side)
    slopes = [place[:, None] * place, place[:, None] * (1 - place), np.abs(place[:, None] - place)]
    image = np.stack(slopes, axis=-1) * 200
    cv2.circle(image, (side // 3, side // 2), side // 5, (240, 40, 30), -1)
    cv2.rectangle(image, (side // 2, side // 4), (side - side // 8, side // 2), (20, 60, 220), -1)
    noise = np.random.default_rng(0).integers(0, 30, image.shape)
    picture: Values = np.clip(np.round(image + noise), 0, 255).astype(np.float32)
    return picture


def _pixels(image: Values, mean: Sequence[float], deviation: Sequence[float] = (1, 1, 1)) -> Values:
    planes: Values = np.ascontiguousarray(((image - mean) / deviation).transpose(2, 0, 1)[None], np.float32)
    return planes


def _print_differences(pairs: Mapping[str, tuple[Values, Values]]) -> bool:
    same = True
    for name, (ours, theirs) in pairs.items():
        difference, largest = float(np.abs(ours - theirs).max()), float(np.abs(theirs).max())
        same &= bool(difference <= _SAME * largest and largest > 0)
        print(f"{name}: largest difference {difference:.2e}, largest value {largest:.4g}, shape {ours.shape}")
    return same


def _run_ours(outputs: Sequence[mx.sym.Symbol], parameters: Parameters, pixels: Values) -> list[Values]:
    graph = mx.sym.Group(list(outputs))
    shapes, _, _ = graph.infer_shape(data=pixels.shape)
    given = dict(zip(graph.list_arguments(), shapes, strict=True))
    # What the source lacks, such as heads for classes, has no part in what is compared.
    values = {name: parameters.arguments.get(name, mx.nd.zeros(shape)) for name, shape in given.items()}
    executor = graph.bind(
        mx.cpu(), {**values, "data": mx.nd.array(pixels)}, aux_states=parameters.states, grad_req="null"
    )
    return [output.asnumpy() for output in executor.forward(is_train=False)]


def _our_maps(base_network: str, parameters: Parameters, image: Values, names: Iterable[str]) -> list[Values]:
    network = Network(base_network, image.shape[0], 1)
    internals = mx.sym.Group(list(network.predictions().maps)).get_internals()
    outputs = [internals[f"{name}_output"] for name in names]
    return _run_ours(outputs, parameters, _pixels(image, network.mean))


def _compare_onnx(model: onnx.ModelProto, trunk: OnnxTrunk, base_network: str, parameters: Parameters) -> bool:
    image = drawn_picture(_CLASSIFIER_SIDE)
    # Every map that both have. fc6 and fc7 are sub-sampled, so that the file computes nothing that ours could be.
    part = _part(model, trunk.input, list(trunk.maps.values()))
    framed = image
    if base_network == "vgg-16":
        # The zeros around the image stand for the mean, which differs by less than one step: the file is given our
        # mean there in place of its zeros.
        frame = np.asarray(Network("vgg-16", _DETECTOR_SIDE, 1).mean, np.float32)
        framed = np.tile(frame, (image.shape[0] + 2, image.shape[1] + 2, 1))
        framed[1:-1, 1:-1] = image
        first = next(node for node in part.graph.node if trunk.first and node.output == trunk.first.output)
        next(entry for entry in first.attribute if entry.name == "pads").ints[:] = [0] * 4
    theirs = _run_onnx(part, _pixels(framed, IMAGENET_MEAN, IMAGENET_DEVIATION))
    ours = _our_maps(base_network, parameters, image, trunk.maps)
    return _print_differences(dict(zip(trunk.maps, zip(ours, theirs, strict=True), strict=True)))


def _part(model: onnx.ModelProto, start: str, ends: Sequence[str]) -> onnx.ModelProto:
    """Cut out what computes some tensors from another one, of any size."""
    makers = {name: node for node in model.graph.node for name in node.output}
    waiting, names = list(ends), {start}
    while waiting:
        name = waiting.pop()
        if name in names:
            continue
        names.add(name)
        if name in makers:
            waiting += makers[name].input
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = part.graph
    graph.name = model.graph.name or "part"
    graph.node.extend(node for node in model.graph.node if names & set(node.output) - {start})
    stored = [tensor for tensor in model.graph.initializer if tensor.name in names]
    graph.initializer.extend(stored)
    graph.input.append(helper.make_tensor_value_info(start, onnx.TensorProto.FLOAT, ["n", "c", "h", "w"]))
    if part.ir_version < 4:
        graph.input.extend(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in stored
        )
    graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in ends)
    return part


def _onnxruntime() -> ModuleType:
    """Import onnxruntime, which images do not have; raises UserError."""
    try:
        import onnxruntime
    except ImportError:
        raise UserError(
            "the file is run in onnxruntime, which is not installed here: check in the .venv that `make setup` makes"
        ) from None
    module: ModuleType = onnxruntime
    return module


def _run_onnx(model: onnx.ModelProto, data: Values) -> list[Values]:
    session = _onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    outputs: list[Values] = session.run(None, {model.graph.input[0].name: data})
    return outputs


def _print_classes(
    model: onnx.ModelProto, trunk: OnnxTrunk, base_network: str, parameters: Parameters, picture: Path
) -> None:
    """Print the best classes of a photo by the file alone, and by our trunk with the file's last layers behind it."""
    image = _classifier_view(picture)
    (end,) = (entry.name for entry in model.graph.output)
    last = list(trunk.maps)[-1]
    (theirs,) = _run_onnx(_part(model, trunk.input, [end]), _pixels(image, IMAGENET_MEAN, IMAGENET_DEVIATION))
    (our_map,) = _our_maps(base_network, parameters, image, [last])
    (ours,) = _run_onnx(_part(model, trunk.maps[last], [end]), our_map)
    names = _class_names(theirs.size)
    for words, scores in (("the file", theirs.ravel()), ("our trunk and the file's last layers", ours.ravel())):
        shares = np.exp(scores - scores.max())
        shares /= shares.sum()
        best = np.argsort(-shares)[:_BEST]
        print(f"{picture.name} by {words}: " + "; ".join(f"{names[k]} {shares[k]:.1%}" for k in best))


def _classifier_view(picture: Path) -> Values:
    image = cv2.imread(str(picture), cv2.IMREAD_COLOR)
    if image is None:
        raise UserError(f"{picture}: is no picture that can be decoded")
    height, width = image.shape[:2]
    scale = _SHORT_SIDE / min(height, width)
    image = cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    top, left = (image.shape[0] - _CLASSIFIER_SIDE) // 2, (image.shape[1] - _CLASSIFIER_SIDE) // 2
    middle: Any = image[top : top + _CLASSIFIER_SIDE, left : left + _CLASSIFIER_SIDE, ::-1]
    return np.ascontiguousarray(middle, np.float32)


def _class_names(count: int) -> list[str]:
    """Return ImageNet's names, as GluonCV has them; numbers for another set of classes."""
    from gluoncv.data.imagenet.classification import ImageNet1kAttr

    names: list[str] = [str(name) for name in ImageNet1kAttr().classes]
    return names if len(names) == count else [f"class {k}" for k in range(count)]


def _check_torchvision(python: str) -> None:
    """Raise UserError where a Python cannot be started or has no torchvision."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torchvision') is None)"
    if _run([python, "-c", code]).returncode:
        raise UserError(f"the file is run in torchvision, which {python} does not have. {_NAME_ANOTHER}")


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UserError(f"{command[0]} cannot be started: {error.strerror}. {_NAME_ANOTHER}") from error


def _compare_torchvision(file: Path, parameters: Parameters, python: str, scratch: Path) -> bool:
    image = drawn_picture(_DETECTOR_SIDE)
    given, found = scratch / "picture.npy", scratch / "maps.npz"
    # numpy's own write does not say that a disk is full.
    content = io.BytesIO()
    np.save(content, (image / 255).transpose(2, 0, 1).astype(np.float32))
    given.write_bytes(content.getvalue())
    ended = _run([python, "-c", TORCHVISION, str(file), str(given), str(found)])
    said = ended.stderr.strip().splitlines()
    if not found.exists():
        reason = said[-1] if said else f"it ended with {ended.returncode}"
        raise UserError(
            f"the conversion could be made, but {python} did not run the file itself: {reason[:200]}. {_NAME_ANOTHER}"
        )
    with np.load(found) as stored:
        theirs = [stored[name] for name in stored.files]
    network = Network("vgg-16", _DETECTOR_SIDE, 1)
    predictions = network.predictions()
    ours = _run_ours([*predictions.maps, predictions.locations], parameters, _pixels(image, network.mean))
    names = ["relu4_3, scaled", *(symbol.name for symbol in predictions.maps[1:]), "offsets of all anchors"]
    ours[-1] = ours[-1].reshape(theirs[-1].shape)
    return _print_differences(dict(zip(names, zip(ours, theirs, strict=True), strict=True)))
