"""`python -m sagemaker_ssd.predict` as a user calls it, on models in the built-in's form."""

import io
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import mxnet as mx
import numpy as np
import pytest

from command_runner import progress_of, run_command, without_progress
from drawn_channels import write_rec
from model_server import write_drawn_model, write_mxnet_ssd_model, write_overflowing_model
from plain_detection import assert_same_detections, detect_all_classes
from sagemaker_ssd.artifacts.model_files import write_model
from sagemaker_ssd.contract.model_folder import CONFIGURATION, PARAMETERS, SYMBOL
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.predict import _drawn, _write
from sagemaker_ssd.scoring.detector import Detector, Weights
from sagemaker_ssd.scoring.saved_model import decoded, load_model, network_input
from sagemaker_ssd.ssd.detect import anchor_boxes
from sagemaker_ssd.ssd.graphs import detection_graph, saved_graph
from sagemaker_ssd.ssd.initial_values import Parameters, initial_parameters
from sagemaker_ssd.ssd.network import Network, NmsSettings

NETWORK = Network("resnet-50", 300, num_classes=3, nms=NmsSettings(threshold=0.3))


@pytest.fixture(scope="module")
def values() -> Parameters:
    values = initial_parameters(saved_graph(NETWORK), 300, seed=1)
    for name, array in values.arguments.items():
        if name.endswith("_pred_conv_weight"):
            array[:] = np.random.RandomState(3).normal(0, 0.003, array.shape)
    return values


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, values: Parameters) -> Path:
    """A folder of a model's files, and beside it their archive."""
    folder = tmp_path_factory.mktemp("model") / "files"
    folder.mkdir()
    settings = {"image_shape": "300", "nms_threshold": "0.3", "nms_topk": "400", "base_network": "resnet-50"}
    write_model(folder, saved_graph(NETWORK), values, settings)
    with tarfile.open(folder.parent / "model.tar.gz", "w:gz") as archive:
        for name in (SYMBOL, PARAMETERS, CONFIGURATION):
            archive.add(folder / name, name)
    return folder


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "a picture.jpg"
    cv2.imwrite(str(path), cv2.resize(np.random.RandomState(5).randint(0, 256, (6, 8, 3)).astype(np.uint8), (400, 200)))
    return path


def predict(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_command("predict", *arguments)


@pytest.mark.parametrize("form", ["archive", "folder", "folder with an archive", "parameters"])
def test_it_prints_what_the_network_detects(
    folder: Path, values: Parameters, image: Path, tmp_path: Path, form: str
) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    for name in (SYMBOL, PARAMETERS, CONFIGURATION):
        (beside / name).symlink_to(folder / name)
    # What is unpacked counts, as where `serve` is given such a folder.
    for name in ("model.tar.gz", "output.tar.gz"):
        (beside / name).write_bytes(b"never read")
    given = {
        "archive": folder.parent / "model.tar.gz",
        "folder": folder,
        "folder with an archive": beside,
        "parameters": folder / PARAMETERS,
    }[form]
    done = predict(given, image)
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    # Worked out with cv2 instead of MXNet's own decoder, which turns out the same pixels within a rounding.
    pixels = cv2.cvtColor(cv2.resize(cv2.imread(str(image)), (300, 300)), cv2.COLOR_BGR2RGB).transpose(2, 0, 1)
    detector = Detector(
        detection_graph(NETWORK), [Weights(mx.cpu(), values.arguments, values.states)], batch_size=1, image_shape=300
    )
    (expected,) = detector.detect(mx.nd.array(pixels[None]))
    found = np.array(json.loads(line)["prediction"])
    assert json.loads(line).keys() == {"prediction"}
    assert len(found) > 10
    np.testing.assert_allclose(found[:5], expected[:5], atol=0.02)


def test_all_classes_of_an_anchor_are_detected_where_that_is_asked_for(image: Path, tmp_path: Path) -> None:
    """Beside plain loops over the predictions that the saved graph itself gives."""
    write_drawn_model(tmp_path / "model", heads=0.0003)
    done = predict(tmp_path / "model", image, "--detections", "all-classes")
    assert (done.returncode, done.stderr) == (0, "")
    internals = mx.sym.load(str(tmp_path / "model" / SYMBOL)).get_internals()
    heads = mx.sym.Group([internals["multibox_cls_pred_output"], internals["multibox_loc_pred_output"]])
    arrays = mx.nd.load(str(tmp_path / "model" / PARAMETERS))
    arguments = {name: arrays[f"arg:{name}"] for name in heads.list_arguments() if name != "data"}
    arguments["data"] = mx.nd.array(network_input(decoded(image.read_bytes(), "image"), 300, NETWORK.mean)[None])
    states = {name: arrays[f"aux:{name}"] for name in heads.list_auxiliary_states()}
    classes, locations = heads.bind(mx.cpu(), arguments, aux_states=states).forward(is_train=False)
    expected = detect_all_classes(
        mx.nd.softmax(classes, axis=1)[0].asnumpy(),
        locations[0].asnumpy(),
        anchor_boxes(NETWORK),
        nms_threshold=0.3,
        nms_topk=400,
    )
    found = np.array(json.loads(done.stdout)["prediction"])
    assert_same_detections(found, expected, 1e-5)
    # Of such heads every class finds something nearly everywhere.
    assert len(found) == 400


def test_a_kind_of_detections_that_there_is_not_is_refused(folder: Path, image: Path) -> None:
    done = predict(folder, image, "--detections", "all")
    assert (done.returncode, done.stdout) == (2, "")
    assert "argument --detections: invalid choice: 'all' (choose from 'best-class', 'all-classes')" in done.stderr


def test_several_images_are_named_and_drawn_and_a_bad_one_stops_nothing(
    folder: Path, image: Path, tmp_path: Path
) -> None:
    bad, gone = tmp_path / "bad.jpg", tmp_path / "gone.jpg"
    bad.write_bytes(b"no image")
    drawn = tmp_path / "drawn"
    other = tmp_path / "other" / image.name
    other.parent.mkdir()
    other.write_bytes(image.read_bytes())
    named = ("--class-names", 'cat,"dog, large",owl')
    options = ("--draw", drawn, "--draw-confidence", "0.1", *named, "--confidence", "0.3")
    done = predict(folder, image, bad, gone, other, *options)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [f"{bad}: damaged or not an image", f"{gone}: No such file or directory"]
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["file"] for answer in answers] == [str(image), str(other)]
    assert [answer["drawn"] for answer in answers] == [str(drawn / "a picture.jpg"), str(drawn / "a picture-2.jpg")]
    assert all(row[1] >= 0.3 for answer in answers for row in answer["prediction"])
    assert answers[0]["prediction"]
    assert sorted(file.name for file in drawn.iterdir()) == ["a picture-2.jpg", "a picture.jpg"]
    before, after = cv2.imread(str(image)), cv2.imread(str(drawn / "a picture.jpg"))
    assert before.shape == after.shape
    assert np.abs(before.astype(int) - after).max() > 60


def test_a_second_run_keeps_the_pictures_of_the_first_and_names_its_own(
    folder: Path, image: Path, tmp_path: Path
) -> None:
    drawn = tmp_path / "drawn"
    drawn.mkdir()
    (drawn / "a picture.jpg").write_bytes(b"of the first run")
    done = predict(folder, image, "--draw", drawn)
    assert (done.returncode, done.stderr) == (0, "")
    answer = json.loads(done.stdout)
    assert answer.keys() == {"prediction", "drawn"}
    assert answer["drawn"] == str(drawn / "a picture-2.jpg")
    assert cv2.imread(answer["drawn"]) is not None
    assert (drawn / "a picture.jpg").read_bytes() == b"of the first run"


def test_what_cannot_be_one_model_is_told(tmp_path: Path) -> None:
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.tar.gz").touch()
    with pytest.raises(UserError, match=r": it holds several models \(cats/model.tar.gz, dogs/model.tar.gz\); name th"):
        load_model(tmp_path, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match="/pipe: it is a pipe or a device; give a file, or the folder of a model's"):
        load_model(tmp_path / "pipe", tmp_path)


def test_two_runs_at_once_keep_each_others_pictures(tmp_path: Path) -> None:
    def write(run: int) -> list[Path]:
        return [_write(f"{run} {number}".encode(), tmp_path, Path(f"{number}.jpg")) for number in range(40)]

    with ThreadPoolExecutor(4) as pool:
        written = list(pool.map(write, range(4)))
    assert len(list(tmp_path.iterdir())) == 160
    for run, files in enumerate(written):
        assert [file.read_text() for file in files] == [f"{run} {number}" for number in range(40)]
        assert all(re.fullmatch(rf"{number}(-[234])?\.jpg", file.name) for number, file in enumerate(files))


def test_a_picture_of_a_large_image_is_as_large_as_a_jpeg_can_be() -> None:
    drawn = _drawn(np.zeros((20, 66_000, 3), np.uint8), [], (), 0.5)
    assert drawn.size == (65_500, 20)
    drawn.save(io.BytesIO(), "JPEG")


def test_a_folder_for_pictures_that_is_a_file_is_told_before_the_model_is_loaded(image: Path, tmp_path: Path) -> None:
    done = predict(tmp_path / "no model", image, "--draw", image)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{image}: no files can be made in it (it is a file); --draw must be a folder that can be written to, or one "
        "that is not there yet\n"
    )


def test_names_are_drawn_in_letters_of_their_own() -> None:
    """And not each letter that is not Latin as the same box; a large picture has large ones."""

    def ink(name: str, side: int) -> np.ndarray:
        drawn = _drawn(np.zeros((side, side, 3), np.uint8), [[0, 0.9, 0.0, 0.0, 1.0, 1.0]], [name], 0.5)
        return np.asarray(drawn).astype(int)

    for one, other in (("cat", "dog"), ("кот", "пес"), ("γάτα", "λαγός")):
        assert np.abs(ink(one, 300) - ink(other, 300)).max() > 100, one
    # What the label covers of the part inside of the box's corner.
    corners = [ink("кот", side)[side // 50 : side // 8, side // 50 : side // 2] for side in (800, 2000)]
    covered = [(corner.max(axis=2) > 100).mean() for corner in corners]
    assert covered[0] == pytest.approx(covered[1], rel=0.2)
    assert covered[0] > 0.005


def test_class_names_that_are_no_text_are_refused(folder: Path, image: Path) -> None:
    """Latin-1 of a shell, to `predict` and to `export`."""
    for command, given in (("predict", (folder, image)), ("export", (folder,))):
        names = os.fsdecode("Käfig,dog".encode("latin-1"))
        done = run_command(command, *given, "--class-names", names)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.endswith(r"argument --class-names: 'K\udce4fig,dog' is not text in UTF-8" + "\n")


@pytest.mark.parametrize(
    ("names", "code", "said"),
    [
        ("cat", 1, "--class-names has 1 name, and the model knows 3 classes: name every class by its id, from 0 on"),
        ('"cat, small",dog,owl,elk', 1, "--class-names has 4 names, and the model knows 3 classes: "),
        ("cat,,owl", 2, "argument --class-names: 'cat,,owl' has an empty name, or one twice, or a double quote that"),
        ("cat,owl,owl", 2, "argument --class-names: 'cat,owl,owl' has an empty name, or one twice, or a double quote"),
    ],
)
def test_class_names_that_do_not_name_the_classes_are_refused(
    folder: Path, image: Path, tmp_path: Path, names: str, code: int, said: str
) -> None:
    done = predict(folder, image, "--class-names", names, "--draw", tmp_path / "drawn")
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert not (tmp_path / "drawn").exists()


def test_class_names_without_pictures_are_refused(folder: Path, image: Path) -> None:
    done = predict(folder, image, "--class-names", "cat,dog,owl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("error: --class-names are written on pictures: give --draw too\n")


def test_faults_are_told_in_a_sentence(folder: Path, image: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    of_torch = tmp_path / "of_torch"
    of_torch.mkdir()
    (of_torch / "model.pth").write_bytes(b"x")
    (tmp_path / "alone").mkdir()
    parameters = tmp_path / "alone" / PARAMETERS
    parameters.write_bytes((folder / PARAMETERS).read_bytes())
    for model, options, said in (
        (tmp_path / "nowhere", (), "there is no such file or folder"),
        (empty, (), "it holds no model.tar.gz and no .params file; name the file"),
        (
            of_torch,
            (),
            "it holds no model.tar.gz and no .params file; .pth files are weights of another program, from which only "
            "a training can start: put one of them into its channel pretrained",
        ),
        (image, (), "it is neither a gzip file nor a tar archive"),
        (parameters, (), "give it by --image-shape"),
    ):
        done = predict(model, image, *options)
        assert (done.returncode, done.stdout) == (1, ""), model
        assert said in done.stderr
        assert "Traceback" not in done.stderr
    done = predict(parameters, image, "--image-shape", "300")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("size", ["-300", "0", "32", "11585", "300.5", "x"])
def test_an_image_shape_that_no_network_has_is_refused(folder: Path, image: Path, size: str) -> None:
    done = predict(folder / PARAMETERS, image, f"--image-shape={size}")
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.endswith(f"argument --image-shape: '{size}' is not a whole number from 300 to 11584")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The parameters alone of a vgg-16 for 512 pixels."""
    network = Network("vgg-16", 512, num_classes=1)
    folder = tmp_path_factory.mktemp("large")
    write_model(folder, saved_graph(network), initial_parameters(saved_graph(network), 512, seed=1), {})
    (folder / CONFIGURATION).unlink()
    return folder / PARAMETERS


def said_of(model: Path, scratch: Path, image_shape: int | None) -> str:
    with pytest.raises(UserError) as caught:
        load_model(model, scratch, image_shape)
    return caught.value.sentence


def test_a_size_that_does_not_fit_the_parameters_is_told_with_those_that_do(large: Path, tmp_path: Path) -> None:
    """Whoever told it: the option, or hyperparams.json."""
    fits = (
        "but its parameters are those of vgg-16 for an image_shape from 448 to 5792: it must be the one that the model "
        "was trained at, usually 512"
    )
    assert said_of(large, tmp_path, 300) == f"{large}: --image-shape is 300, {fits}"
    none = (
        "at which vgg-16 runs on no machine: from 5793 on the first layer of one image has more numbers than an array"
    )
    assert said_of(large, tmp_path, 6000).startswith(f"{large}: --image-shape is 6000, {none}")
    parameters = tmp_path / PARAMETERS
    parameters.symlink_to(large)
    for size, told in (("300", fits), ("5793", none)):
        (tmp_path / CONFIGURATION).write_text(json.dumps({"image_shape": size}))
        assert said_of(parameters, tmp_path, None).startswith(
            f"{parameters}: its hyperparams.json has image_shape '{size}', {told}"
        )


def test_parameters_that_fit_at_no_size_are_named(folder: Path, tmp_path: Path) -> None:
    arrays = mx.nd.load(str(folder / PARAMETERS))
    del arrays["arg:conv0_weight"]
    mx.nd.save(str(tmp_path / PARAMETERS), arrays)
    assert said_of(tmp_path, tmp_path, 300) == (
        f"{tmp_path / PARAMETERS}: its parameters are not those of resnet-50 with 3 classes, at whatever image_shape:\n"
        "conv0_weight is missing"
    )


def test_another_size_than_that_of_hyperparams_json_is_used_with_a_warning(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert load_model(folder, tmp_path, 300).network.image_shape == 300
    assert caplog.messages == []
    assert load_model(folder, tmp_path, 512).network.image_shape == 512
    assert caplog.messages == [
        f"{folder / PARAMETERS}: its hyperparams.json has image_shape 300, and --image-shape 512 is used instead: a "
        "model detects best at the size that it was trained at"
    ]


def test_the_hyperparams_json_of_another_model_is_told(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / PARAMETERS).symlink_to(folder / PARAMETERS)
    parameters, settings = tmp_path / PARAMETERS, tmp_path / CONFIGURATION
    used = {"image_shape": "300", "nms_threshold": "0.3", "nms_topk": "400"}
    for base_network, num_classes, said in (
        # The model's own, however its numbers are written.
        ("resnet-50", 3, None),
        (None, " 3", None),
        ("", "", None),
        ("vgg-16", "7", "base_network 'vgg-16' (they have resnet-50) and num_classes '7' (they have 3)"),
        ("resnet-50", "4", "num_classes '4' (they have 3)"),
        ("resnet-50", "many", "num_classes 'many' (they have 3)"),
        ("resnet-101", "3", "base_network 'resnet-101' (they have resnet-50)"),
    ):
        settings.write_text(json.dumps({**used, "base_network": base_network, "num_classes": num_classes}))
        caplog.clear()
        assert load_model(tmp_path, tmp_path).network == NETWORK
        assert caplog.messages == (
            []
            if said is None
            else [
                f"{parameters}: its hyperparams.json has not what the parameters have: {said}. Where it is another "
                "model's, its image_shape, nms_threshold and nms_topk are too: put this model's own beside the "
                "parameters"
            ]
        )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"image_shape": ', "is no JSON object, as where it was cut off, so that nothing tells its image_shape"),
        (b"[300]", "is no JSON object, as where it was cut off, so that nothing tells its image_shape"),
        (b'{"nms_topk": "400"}', "has no image_shape"),
        (b'{"image_shape": null}', "has no image_shape"),
    ],
)
def test_a_hyperparams_json_that_does_not_tell_the_size_is_not_called_missing(
    folder: Path, tmp_path: Path, content: bytes, why: str
) -> None:
    (tmp_path / PARAMETERS).symlink_to(folder / PARAMETERS)
    (tmp_path / CONFIGURATION).write_bytes(content)
    assert said_of(tmp_path, tmp_path, None) == (
        f"{tmp_path / PARAMETERS}: its hyperparams.json {why}: give it by --image-shape, such as 300 or 512"
    )


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [
        ("nms_threshold", "x", "a number above 0 and at most 1"),
        ("nms_topk", "nan", "a whole number, 1 or more"),
        ("image_shape", "32", "a whole number from 300 to 11584"),
        ("image_shape", "1e999", "a whole number from 300 to 11584"),
    ],
)
def test_settings_of_a_model_that_mean_nothing_are_told(
    folder: Path, image: Path, tmp_path: Path, name: str, value: str, must: str
) -> None:
    (tmp_path / PARAMETERS).symlink_to(folder / PARAMETERS)
    (tmp_path / CONFIGURATION).write_text(json.dumps({"image_shape": "300", name: value}))
    done = predict(tmp_path, image)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"{tmp_path / PARAMETERS}: its hyperparams.json has {name} '{value}', and it must be {must}\n"
    )


def test_a_model_of_mxnet_ssd_sees_pixels_minus_its_mean(image: Path, tmp_path: Path) -> None:
    """Beside its own network on such pixels; with the statistics of pixels as they are there is no warning."""
    model, plain = tmp_path / "model", tmp_path / "plain"
    weights = write_mxnet_ssd_model(model)
    centred = network_input(decoded(image.read_bytes(), "image"), 300, (123, 117, 104))
    detector = Detector(detection_graph(NETWORK), [weights], batch_size=1, image_shape=300)
    (expected,) = detector.detect(mx.nd.array(centred[None]))
    assert len(expected) > 10
    shutil.copytree(model, plain)
    arrays = mx.nd.load(str(model / PARAMETERS))
    arrays["aux:bn_data_moving_mean"] = mx.nd.array([116.5, 111.8, 104.3])
    mx.nd.save(str(plain / PARAMETERS), arrays)
    warning = (
        f"{model / PARAMETERS}: bn_data's mean fitted to pixels of 0-255: with its variance it shows that the file "
        "reads these minus a mean, which is assumed to be mxnet-ssd's, (123, 117, 104)\n"
    )
    for folder, said in ((model, warning), (plain, "")):
        done = predict(folder, image)
        assert (done.returncode, done.stderr) == (0, said)
        assert_same_detections(np.array(json.loads(done.stdout)["prediction"]), expected, 1e-4)


def test_without_hyperparams_json_the_symbol_tells_of_the_suppression(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As a folder and packed; without the symbol the defaults are used, which is said."""
    for name in (SYMBOL, PARAMETERS):
        (tmp_path / name).symlink_to(folder / name)
    packed = tmp_path.parent / "no_settings.tar.gz"
    with tarfile.open(packed, "w:gz", compresslevel=0) as archive:
        for name in (SYMBOL, PARAMETERS):
            archive.add(folder / name, name)
    for model in (tmp_path, packed):
        assert load_model(model, tmp_path, 300).network == NETWORK
    assert caplog.messages == []
    (tmp_path / SYMBOL).unlink()
    assert load_model(tmp_path, tmp_path, 300).network.nms == NmsSettings(threshold=0.45, topk=400)
    assert caplog.messages == [
        f"{tmp_path / PARAMETERS}: neither hyperparams.json nor a symbol beside it tells nms_threshold (0.45 is used) "
        "and nms_topk (400 is used)"
    ]


def test_a_symbol_tells_what_it_has_of_the_suppression(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """MXNet's own default of nms_topk is -1, for all."""
    (tmp_path / PARAMETERS).symlink_to(folder / PARAMETERS)
    graph = json.loads((folder / SYMBOL).read_text())
    (node,) = [node for node in graph["nodes"] if node["op"] == "_contrib_MultiBoxDetection"]
    node["attrs"] |= {"nms_threshold": "0.6", "nms_topk": "-1"}
    (tmp_path / SYMBOL).write_text(json.dumps(graph))
    assert load_model(tmp_path, tmp_path, 300).network.nms == NmsSettings(threshold=0.6, topk=400)
    assert caplog.messages == [
        f"{tmp_path / PARAMETERS}: neither hyperparams.json nor a symbol beside it tells nms_topk (400 is used)"
    ]


def test_a_symbol_that_suppresses_across_classes_is_told(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As the deploy form does, this program's and that of mxnet-ssd's deploy.py; also with hyperparams.json."""
    for name in (PARAMETERS, CONFIGURATION):
        (tmp_path / name).symlink_to(folder / name)
    graph = json.loads((folder / SYMBOL).read_text())
    for value, told in (("True", True), ("1", True), ("False", False)):
        node_of(graph, "_contrib_MultiBoxDetection")["force_suppress"] = value
        (tmp_path / SYMBOL).write_text(json.dumps(graph))
        caplog.clear()
        assert load_model(tmp_path, tmp_path).network == NETWORK
        assert len(caplog.messages) == told
        assert "suppresses detections of other classes too (force_suppress)" in caplog.text or not told


@pytest.mark.parametrize(("key", "version"), [("attr", 1100), ("param", None)])
def test_symbols_of_older_mxnet_tell_of_the_suppression_too(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, version: int | None
) -> None:
    """As versions 0.11 and 0.8 wrote them."""
    (tmp_path / PARAMETERS).symlink_to(folder / PARAMETERS)
    graph = json.loads((folder / SYMBOL).read_text())
    for node in graph["nodes"]:
        if "attrs" in node:
            node[key] = node.pop("attrs")
    graph["attrs"] = {} if version is None else {"mxnet_version": ["int", version]}
    (tmp_path / SYMBOL).write_text(json.dumps(graph))
    assert load_model(tmp_path, tmp_path, 300).network == NETWORK
    assert caplog.messages == []


def node_of(symbol: dict, operator: str, number: int = 1) -> dict[str, str]:
    """Return the attributes of a node, which is the so-many-eth of its operator."""
    return [node for node in symbol["nodes"] if node["op"] == operator][number - 1]["attrs"]


def prior(symbol: dict, number: int, **changes: str) -> None:
    """Change attributes of a feature map's anchors."""
    node_of(symbol, "_contrib_MultiBoxPrior", number).update(changes)


@pytest.mark.parametrize(
    ("base_network", "side", "change", "fault"),
    [
        ("resnet-50", 300, lambda symbol: None, None),
        # As mxnet-ssd's own models and genuine artifacts have them.
        ("resnet-50", 300, lambda symbol: prior(symbol, 1, sizes="(0.1, 0.14142136)"), None),
        (
            "vgg-16",
            300,
            lambda symbol: prior(symbol, 1, sizes="[0.1, 0.141]", steps="(0.0266666666667,0.026667)"),
            None,
        ),
        ("vgg-16", 512, lambda symbol: None, None),
        ("vgg-16", 333, lambda symbol: None, None),
        (
            "resnet-50",
            300,
            lambda symbol: prior(symbol, 1, sizes="(0.1,0.3)"),
            "on feature map 1 the sizes are '(0.1,0.3)', and here (0.1,0.141421)",
        ),
        (
            "resnet-50",
            300,
            lambda symbol: prior(symbol, 2, ratios="(1,2,0.5)"),
            "on feature map 2 the ratios are '(1,2,0.5)', and here (1,2,0.5,3,0.333333333333)",
        ),
        (
            "vgg-16",
            300,
            lambda symbol: prior(symbol, 1, steps="(-1,-1)"),
            "on feature map 1 the steps are '(-1,-1)', and here (0.02666666666666667,0.02666666666666667)",
        ),
        (
            "vgg-16",
            300,
            lambda symbol: prior(symbol, 3, clip="True"),
            "on feature map 3 they are cut off at the image's border (clip), and here not",
        ),
        (
            "resnet-50",
            300,
            lambda symbol: node_of(symbol, "_contrib_MultiBoxDetection").update(variances="(0.1,0.1,0.1,0.1)"),
            "the variances are '(0.1,0.1,0.1,0.1)', and here (0.1, 0.1, 0.2, 0.2)",
        ),
    ],
)
def test_a_symbol_with_other_anchors_is_refused(
    tmp_path: Path, base_network: str, side: int, change: Callable[[dict], None], fault: str | None
) -> None:
    graph = saved_graph(Network(base_network, side, 1))
    write_model(tmp_path, graph, initial_parameters(graph, side, seed=1), {"image_shape": str(side)})
    symbol = json.loads((tmp_path / SYMBOL).read_text())
    change(symbol)
    (tmp_path / SYMBOL).write_text(json.dumps(symbol))
    if fault is None:
        assert load_model(tmp_path, tmp_path).network.image_shape == side
        return
    with pytest.raises(UserError) as refused:
        load_model(tmp_path, tmp_path)
    assert refused.value.sentence == (
        f"{tmp_path / PARAMETERS}: the symbol beside it has other anchors than this program's {base_network}, so that "
        f"its boxes would be wrong: {fault}. Detect with MXNet itself, by that symbol; or train from these weights, as "
        "the channel pretrained"
    )


def test_anchors_of_another_size_than_the_one_trained_at(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """vgg-16's steps at 300 pixels are those of that size alone."""
    graph = saved_graph(Network("vgg-16", 300, 1))
    write_model(tmp_path, graph, initial_parameters(graph, 300, seed=1), {"image_shape": "300"})
    assert load_model(tmp_path, tmp_path, 320).network.image_shape == 320
    assert "its hyperparams.json has image_shape 300, and --image-shape 320 is used instead" in caplog.text
    (tmp_path / CONFIGURATION).unlink()
    with pytest.raises(UserError, match="its symbol has the anchors of an image_shape of 300, not those of 320: it"):
        load_model(tmp_path, tmp_path, 320)


def test_a_cut_off_jpeg_is_named_and_a_huge_file_is_not_read(folder: Path, image: Path, tmp_path: Path) -> None:
    cut, huge, whole = (tmp_path / name for name in ("cut.jpg", "huge.jpg", "whole.jpg"))
    cut.write_bytes(image.read_bytes()[:-500])
    # Its end's marker alone is missing.
    whole.write_bytes(image.read_bytes()[:-2])
    huge.touch()
    # Four terabytes, which take no room on the disk.
    os.truncate(huge, 4 << 40)
    done = predict(folder, cut, whole, huge)
    assert done.returncode == 1
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == [str(cut), str(whole)]
    lines = [line for line in done.stderr.splitlines() if not line.startswith("Corrupt JPEG data")]
    assert lines == [
        f"{cut}: a JPEG that is cut off, used as far as it goes",
        f"{huge}: 4,398,046,511,104 bytes; an image has 500,000,000 at most",
    ]


def test_an_image_of_16_bits_is_named(folder: Path, image: Path, tmp_path: Path) -> None:
    """With the values of 12 bits, which are nearly black once the upper 8 of 16 are read."""
    deep = tmp_path / "100% deep.png"
    cv2.imwrite(str(deep), cv2.imread(str(image)).astype(np.uint16) * 16)
    done = predict(folder, deep, image)
    assert done.returncode == 0
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == [str(deep), str(image)]
    assert done.stderr == (
        f"{deep}: 16 bits a colour, of which the upper 8 are read, so that values of 12 bits would be nearly black: "
        "multiply those by 16\n"
    )


def test_predictions_that_are_not_finite_are_told(folder: Path, image: Path, tmp_path: Path) -> None:
    """Of each image, and by `evaluate` instead of figures."""
    write_overflowing_model(folder, tmp_path / "model")
    done = predict(tmp_path / "model", image, image)
    said = (
        "the model's predictions are not finite numbers: its training has diverged, or its .params file is damaged; "
        "train again, or use another model"
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [f"{image}: {said}"] * 2
    file = write_rec(tmp_path / "a.rec", [([2, 5, 0, 0, 0, 1, 1], image.read_bytes())])
    done = run_command("evaluate", tmp_path / "model", file, "--output", tmp_path / "out")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{tmp_path / 'model'}: {said}\n")
    assert not (tmp_path / "out").exists()


def test_nobody_reads_on(folder: Path, image: Path) -> None:
    """As in `predict ... | head -1`: no message, and the exit code that a shell has for it."""
    command = [sys.executable, "-m", "sagemaker_ssd.predict", str(folder), *[str(image)] * 40]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith('{"file"')
        running.stdout.close()
        said = running.stderr.read()
    assert (running.returncode, without_progress(said)) == (141, "")


# The command as it is, but with lines every tenth of a second.
OFTEN = """
import sys
from sagemaker_ssd.scoring import command
command._FIRST_LINE_SECONDS = command._LINE_SECONDS = 0.1
from sagemaker_ssd.{name} import main
sys.exit(main())
"""


def test_it_says_how_far_it_is(folder: Path, image: Path) -> None:
    command = [sys.executable, "-P", "-c", OFTEN.format(name="predict"), str(folder), *[str(image)] * 20]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    lines = progress_of(done.stderr)
    assert done.stderr.splitlines() == lines
    assert len(done.stdout.splitlines()) == 20
    assert lines[0] == "The command is under way, for 0:00:00 so far"
    assert any(re.fullmatch(r"The model is being loaded, for 0:00:\d\d so far", line) for line in lines)
    far = r"Prediction: \d+ of 20 images in 0:00:\d\d, \d+\.\d images/s; about 0:00:\d\d left"
    assert any(re.fullmatch(far, line) for line in lines)


def test_pictures_that_cannot_be_written_are_named_and_stop_nothing(folder: Path, image: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk, which PIL alone does not notice."""
    other = tmp_path / "small.png"
    cv2.imwrite(str(other), np.zeros((16, 16, 3), np.uint8))
    drawn = tmp_path / "drawn"
    done = run_command(
        "predict",
        *(folder, image, other, "--draw", drawn, "--draw-confidence", "1"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)),
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == f"{drawn / 'a picture.jpg'}: File too large: make room on the disk, or write to another one"
    assert json.loads(done.stdout)["file"] == str(other)
    assert [file.name for file in drawn.iterdir()] == ["small.jpg"]
