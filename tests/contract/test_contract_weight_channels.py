"""The channels to start from: what they may be, what must be in their folders, and what contradicts them."""

from pathlib import Path

import pytest

from sagemaker_ssd.contract.channels import model_file, pretrained_file
from sagemaker_ssd.errors import UserError

CONFIG = "inputdataconfig.json"
PARAMETERS = "model_algo_1-0000.params"
ENTRY_FAULTS = [
    ("model", {"ContentType": "application/gzip"}, "application/x-sagemaker-model or left out"),
    (
        "pretrained",
        {"ContentType": "application/x-recordio"},
        "application/x-mxnet-params, application/octet-stream, application/x-sagemaker-model or left out",
    ),
]


@pytest.mark.parametrize("content", ["application/x-sagemaker-model", "Application/X-SageMaker-Model; q=1", "", None])
@pytest.mark.parametrize("mode", ["File", "FastFile", None])
def test_a_model(tree, content, mode):
    tree.channels["model"] = {"ContentType": content, "TrainingInputMode": mode}
    archive = tree.file("model/model.tar.gz")
    job = tree.read()
    assert (job.model_channel, job.pretrained_channel) == (tree.data / "model", None)
    assert model_file(job.model_channel) == archive
    assert job.notices == ()


@pytest.mark.parametrize(("channel", "name"), [("model", "model.tar.gz"), ("pretrained", "x.onnx")])
def test_a_link_to_nowhere(tree, channel, name):
    tree.channels[channel] = {}
    tree.hyperparameters["use_pretrained_model"] = "1"
    folder = tree.data / channel
    folder.mkdir()
    (folder / name).symlink_to("gone")
    (fault,) = tree.faults()
    assert fault.startswith(f"input/data/{channel}/{name}: it is a link to gone, which is not there; put the files")
    good = tree.file(f"{channel}/good/{name}")
    tree.read()
    assert (model_file if channel == "model" else pretrained_file)(folder) == good


@pytest.mark.parametrize("content", ["application/x-mxnet-params", "application/octet-stream", "", None])
def test_weights(tree, content):
    tree.hyperparameters["use_pretrained_model"] = "1"
    tree.channels["pretrained"] = {"ContentType": content}
    file = tree.file("pretrained/deep/vgg16_atrous.params")
    tree.file("pretrained/deep/vgg16-symbol.json")
    job = tree.read()
    assert (job.model_channel, job.pretrained_channel) == (None, tree.data / "pretrained")
    assert pretrained_file(job.pretrained_channel) == file
    assert job.notices == ()


@pytest.mark.parametrize("content", ["application/x-sagemaker-model", None])
def test_weights_of_a_model(tree, content):
    """The channel of a model under another name, with what SageMaker has beside the model."""
    tree.hyperparameters["use_pretrained_model"] = "1"
    tree.channels["pretrained"] = {"ContentType": content}
    archive = tree.file("pretrained/output/model.tar.gz")
    tree.file("pretrained/output/output.tar.gz")
    assert pretrained_file(tree.read().pretrained_channel) == archive


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["vgg16-7.onnx", "LICENSE"], "vgg16-7.onnx"),
        (["deep/ssd300_vgg16_coco-b556d3b4.pth", "deep/.hidden"], "deep/ssd300_vgg16_coco-b556d3b4.pth"),
        (["weights.PT"], "weights.PT"),
        # By its content alone.
        (["downloaded"], "downloaded"),
    ],
)
def test_weights_of_other_programs(tree, files, chosen):
    tree.hyperparameters["use_pretrained_model"] = "1"
    tree.channels["pretrained"] = {}
    for name in files:
        tree.file(f"pretrained/{name}")
    assert pretrained_file(tree.read().pretrained_channel) == tree.data / "pretrained" / chosen


def test_neither(tree):
    job = tree.read()
    assert (job.model_channel, job.pretrained_channel) == (None, None)


@pytest.mark.parametrize(("name", "entry", "allowed"), ENTRY_FAULTS)
def test_other_contents(tree, name, entry, allowed):
    tree.hyperparameters["use_pretrained_model"] = "1"
    tree.channels[name] = entry
    assert tree.faults() == [f"{CONFIG}: {name}: ContentType is '{entry['ContentType']}'; it must be {allowed}"]


@pytest.mark.parametrize("name", ["model", "pretrained"])
def test_pipe_mode_and_entries_that_are_none(tree, name):
    tree.hyperparameters["use_pretrained_model"] = "1"
    tree.channels[name] = {"TrainingInputMode": "Pipe", "ContentType": 3}
    faults = tree.faults()
    assert faults[0].startswith(f"{CONFIG}: {name}: ContentType is 3; it must be ")
    assert faults[1:] == [
        f"{CONFIG}: {name}: TrainingInputMode is Pipe, which delivers a stream and no files; set it to File or "
        "FastFile: only the channels train and validation can be streams"
    ]
    tree.channels[name] = "x"
    assert tree.faults() == [f"{CONFIG}: {name} is 'x'; it must be an object such as {{\"ContentType\": ...}}"]


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        # What S3 has below a job's output path.
        (["job/output/model.tar.gz", "job/output/output.tar.gz"], "job/output/model.tar.gz"),
        (["mine.tgz"], "mine.tgz"),
        (["MODEL.TAR"], "MODEL.TAR"),
        ([PARAMETERS, "model_algo_1-symbol.json", "hyperparams.json"], PARAMETERS),
        ([PARAMETERS, "deploy_model_algo_1-0000.params", "deploy_model_algo_1-symbol.json"], PARAMETERS),
        (["a/ssd_resnet50_512-0000.params", "a/._ssd_resnet50_512-0000.params"], "a/ssd_resnet50_512-0000.params"),
    ],
)
def test_the_file_to_continue_from(tree, files, chosen):
    tree.channels["model"] = {}
    for name in files:
        tree.file(f"model/{name}")
    assert model_file(tree.read().model_channel) == tree.data / "model" / chosen


SEVERAL = "there are several files to start from, such as {}; the channel must hold exactly one"
HOLDS = "the channel must hold the model.tar.gz of a training job, or the files in it"
FOLDER_FAULTS = [
    ("model", ["a/model.tar.gz", "b/model.tar.gz"], SEVERAL.format("a/model.tar.gz and b/model.tar.gz")),
    ("model", ["x.tgz", "y.tar.gz"], SEVERAL.format("x.tgz and y.tar.gz")),
    ("model", ["model.tar.gz", PARAMETERS], SEVERAL.format(f"model.tar.gz and {PARAMETERS}")),
    ("model", ["x.params", "y.params"], SEVERAL.format("x.params and y.params")),
    ("model", ["1.jpg", "2.jpg", "x.json"], f"there is no model.tar.gz, but 2 .jpg and 1 .json; {HOLDS}"),
    (
        "model",
        ["model.pth", "net.ONNX", "code/inference.py"],
        f"there is no model.tar.gz, but 1 .onnx, 1 .pth and 1 .py; {HOLDS}; .onnx and .pth files are weights of "
        "another program, from which only a training can start: put one of them into its channel pretrained; of a job "
        "that wrote it as its model.onnx, the model.tar.gz is what to give",
    ),
    ("model", [], "the folder holds no files; the data of the model channel must be there"),
    ("pretrained", ["x.params", PARAMETERS], SEVERAL.format(f"{PARAMETERS} and x.params")),
    ("pretrained", ["model.tar.gz", "x.params"], SEVERAL.format("model.tar.gz and x.params")),
    ("pretrained", ["resnet50-v2-7.onnx", "x.pth"], SEVERAL.format("resnet50-v2-7.onnx and x.pth")),
    (
        "pretrained",
        ["x.h5", "x.txt"],
        "there is no .params, .onnx or .pth file, but 1 .h5 and 1 .txt; the channel must hold one, the model.tar.gz of "
        "a training job, or a file of another name alone",
    ),
]


@pytest.mark.parametrize(("name", "files", "text"), FOLDER_FAULTS)
def test_wrong_folders(tree, name, files, text):
    tree.hyperparameters["use_pretrained_model"] = "1"
    tree.channels[name] = {}
    (tree.data / name).mkdir()
    for file in files:
        tree.file(f"{name}/{file}")
    assert tree.faults() == [f"input/data/{name}: {text}"]


@pytest.mark.parametrize(("name", "file"), [("model", "model.tar.gz"), ("pretrained", "x.params")])
def test_an_empty_file(tree, name, file):
    tree.hyperparameters["use_pretrained_model"] = "1"
    tree.channels[name] = {}
    tree.file(f"{name}/{file}", b"")
    assert tree.faults() == [f"input/data/{name}/{file}: the file is empty; copy or upload it again"]


def test_both_channels(tree):
    tree.hyperparameters["use_pretrained_model"] = "1"
    tree.channels |= {"model": {}, "pretrained": {}}
    tree.file("model/model.tar.gz")
    tree.file("pretrained/x.params")
    assert tree.faults() == [
        f"{CONFIG}: the channels model and pretrained are both given, but training can start from only one of them: "
        "remove model to start from the weights, or pretrained to continue from the model"
    ]


@pytest.mark.parametrize("given", ["0", "False", '"0"'])
def test_weights_that_are_not_wanted(tree, given):
    tree.hyperparameters |= {"use_pretrained_model": given, "epochs": "0"}
    tree.channels["pretrained"] = {}
    tree.file("pretrained/x.params")
    first, second = tree.faults()
    assert first.startswith("hyperparameters.json: epochs")
    assert second == (
        f"hyperparameters.json: use_pretrained_model is '{given}', but the pretrained channel gives weights to start "
        "from: remove the channel or set use_pretrained_model to 1"
    )


@pytest.mark.parametrize("given", ["1", "True", None])
def test_use_pretrained_model_beside_a_model(tree, given):
    if given is None:
        del tree.hyperparameters["use_pretrained_model"]
    else:
        tree.hyperparameters["use_pretrained_model"] = given
    tree.channels["model"] = {}
    tree.file("model/model.tar.gz")
    notice = (
        f"use_pretrained_model is '{given}', but training continues from the model in the model channel: no "
        "pre-trained weights are used"
    )
    assert tree.read().notices == (() if given is None else (notice,))


def test_faults_of_every_channel_are_told_together(tree):
    tree.channels |= {"model": {"ContentType": "x/y"}, "pretrained": {}}
    tree.channels["train"] = {"ContentType": "text/csv"}
    places = (
        "train: ContentType",
        "model: ContentType",
        "input/data/pretrained: there is no such folder",
        "both given",
    )
    faults = tree.faults()
    for place in places:
        assert sum(place in fault for fault in faults) == 1, place
    assert len(faults) == len(places) + 1  # use_pretrained_model is 0


@pytest.mark.parametrize("look", [model_file, pretrained_file])
def test_a_file_that_is_gone(tmp_path: Path, look):
    with pytest.raises(UserError, match=r"is not there any more$"):
        look(tmp_path)
