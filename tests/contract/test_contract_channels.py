"""Channels: content, delivery, and what must be in their folders."""

import time
from pathlib import Path

import pytest

from another_user import said_as_another_user
from sagemaker_ssd.contract.channels import DataChannel
from sagemaker_ssd.contract.environment import PIPE_VARIABLE
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.errors import UserError

TYPES = "it must be application/x-recordio, or for images image/jpeg, image/png or application/x-image"
PIPE = (
    "TrainingInputMode is Pipe, which delivers a stream and no files; set it to File or FastFile: only the channels "
    "train and validation can be streams"
)
MODES = "it must be File, FastFile or Pipe"
WRAPPED = "which is for Pipe mode alone: leave it out, or set TrainingInputMode to Pipe"
ENTRY_FAULTS = [
    ({"ContentType": "text/csv"}, f"train: ContentType is 'text/csv'; {TYPES}"),
    ({"ContentType": "recordio"}, f"train: ContentType is 'recordio'; {TYPES}"),
    ({"ContentType": "image/gif"}, f"train: ContentType is 'image/gif'; {TYPES}"),
    ({"ContentType": 3}, f"train: ContentType is 3; {TYPES}"),
    ({"TrainingInputMode": "pipe"}, f"train: TrainingInputMode is 'pipe'; {MODES}"),
    ({"TrainingInputMode": ["File"]}, f'train: TrainingInputMode is ["File"]; {MODES}'),
    ({"RecordWrapperType": "RecordIO"}, f"train: RecordWrapperType is 'RecordIO', {WRAPPED}"),
    ({"RecordWrapperType": "AugmentedManifest"}, f"train: RecordWrapperType is 'AugmentedManifest', {WRAPPED}"),
    ({"RecordWrapperType": "Zip"}, "train: RecordWrapperType is 'Zip'; it must be None or left out"),
    (
        {"RecordWrapperType": "Zip", "TrainingInputMode": "Pipe"},
        "train: RecordWrapperType is 'Zip'; it must be None, RecordIO or left out",
    ),
    (
        {"S3DistributionType": "Half"},
        "train: S3DistributionType is 'Half'; it must be FullyReplicated or ShardedByS3Key",
    ),
    ([], 'train is []; it must be an object such as {"ContentType": ...}'),
    (None, 'train is null; it must be an object such as {"ContentType": ...}'),
]


@pytest.mark.parametrize(("entry", "text"), ENTRY_FAULTS)
def test_wrong_entries(tree, entry, text):
    tree.channels["train"] = entry
    assert tree.faults() == [f"inputdataconfig.json: {text}"]


def test_both_channels_are_required(tree):
    tree.channels = {}
    given = "channels given: none"
    assert tree.faults() == [
        f"inputdataconfig.json: the train channel is required, because the model is trained on it; {given}",
        "inputdataconfig.json: the validation channel is required, because the mAP that picks the best model is "
        f"computed on it; {given}",
    ]


def test_a_misnamed_channel_is_shown(tree):
    tree.channels["val"] = tree.channels.pop("validation")
    (fault,) = tree.faults()
    assert fault.endswith("computed on it; channels given: train, val")


@pytest.mark.parametrize(
    "entry",
    [
        {"ContentType": "application/x-recordio"},
        {"ContentType": "application/x-recordio", "RecordWrapperType": "None"},
        {},
        # An augmented manifest, as AWS's notebooks and as its documentation have it.
        {"ContentType": "application/x-recordio", "RecordWrapperType": "RecordIO"},
        {"ContentType": "image/jpeg", "RecordWrapperType": "RecordIO"},
        {"ContentType": "image/png", "RecordWrapperType": "AugmentedManifest"},
        {"ContentType": "application/x-image", "RecordWrapperType": "RecordIO"},
        {"RecordWrapperType": "RecordIO"},
    ],
)
def test_a_stream(tree, entry):
    emptied(tree, "train").rmdir()
    tree.channels["train"] = {"TrainingInputMode": "Pipe", **entry}
    train = tree.read().train
    assert train == DataChannel("train", "recordio", tree.data / "train", None, mode="Pipe")
    assert (train.stream, train.pipe_seconds) == (tree.data / "train_0", 600)


def test_a_stream_of_images_has_two_ways_out(tree):
    tree.images()
    tree.channels["train"]["TrainingInputMode"] = "Pipe"
    tree.channels["train_annotation"]["TrainingInputMode"] = "Pipe"
    fault = (
        "inputdataconfig.json: train holds images, and Pipe mode delivers no names to find their annotations by: set "
        "TrainingInputMode to File or FastFile, or feed an augmented manifest and set RecordWrapperType to RecordIO"
    )
    assert tree.faults() == [fault]
    # Without a ContentType the annotation channel tells that it holds images.
    tree.channels["train"] = {"TrainingInputMode": "Pipe"}
    assert tree.faults() == [fault]


def test_an_augmented_manifest_needs_no_annotation_channel(tree):
    tree.channels["train"] = {"TrainingInputMode": "Pipe", "RecordWrapperType": "RecordIO", "ContentType": "image/png"}
    tree.channels["train_annotation"] = {"TrainingInputMode": "Pipe"}
    assert tree.read().notices == (
        "inputdataconfig.json: channel train_annotation is ignored, because train is RecordIO",
    )


@pytest.mark.parametrize(("given", "seconds"), [("", 600), (" 0.5 ", 0.5), ("1e3", 1000)])
def test_how_long_to_wait_for_a_stream(tree, monkeypatch, given, seconds):
    monkeypatch.setenv(PIPE_VARIABLE, given)
    tree.channels["train"]["TrainingInputMode"] = "Pipe"
    assert tree.read().train.pipe_seconds == seconds


@pytest.mark.parametrize("given", ["0", "-1", "inf", "nan", "ten"])
def test_no_time_to_wait_for_a_stream(tree, monkeypatch, given):
    monkeypatch.setenv(PIPE_VARIABLE, given)
    assert tree.read().train.mode == "File"
    for name in ("train", "validation"):
        # Once, also where both are streams.
        tree.channels[name]["TrainingInputMode"] = "Pipe"
        assert tree.faults() == [
            f"environment variable {PIPE_VARIABLE} is '{given}'; it must be a number of seconds above 0"
        ]


@pytest.mark.parametrize(
    "entry",
    [
        {"ContentType": "application/x-recordio"},
        {"ContentType": "Application/X-RecordIO; charset=binary", "TrainingInputMode": "FastFile"},
        {"ContentType": "", "RecordWrapperType": "None", "Compression": {"x": [1]}},
        {"ContentType": None, "TrainingInputMode": None, "RecordWrapperType": None, "S3DistributionType": None},
        {},
    ],
)
def test_recordio(tree, entry):
    tree.channels["train"] = entry
    job = tree.read()
    mode = entry.get("TrainingInputMode") or "File"
    assert job.train == DataChannel("train", "recordio", tree.data / "train", None, mode=mode)
    assert job.train.record_files().found == [tree.data / "train" / "train.rec"]
    assert job.validation.record_files().found == [tree.data / "validation" / "val.rec"]
    assert job.notices == ()


def test_sharded(tree):
    tree.channels["train"] = {"S3DistributionType": "ShardedByS3Key"}
    tree.channels["validation"] = {"S3DistributionType": "FullyReplicated"}
    job = tree.read()
    assert (job.train.sharded, job.validation.sharded) == (True, False)


@pytest.mark.parametrize("content", ["image/jpeg", "IMAGE/PNG", "application/x-image; q=1", "", None])
def test_images(tree, content):
    tree.images()
    tree.channels["train"] = {"ContentType": content}
    job = tree.read()
    train, annotations = tree.data / "train", tree.data / "train_annotation"
    assert job.train == DataChannel("train", "images", train, annotations)
    assert job.notices == ()


def test_images_without_their_annotation_channels(tree):
    tree.images()
    del tree.channels["train_annotation"]
    tree.channels["validation_annotation"] = {"TrainingInputMode": "Pipe"}
    assert tree.faults() == [
        "inputdataconfig.json: train holds images, so the train_annotation channel is required, with one JSON file "
        "for each image",
        f"inputdataconfig.json: validation_annotation: {PIPE}",
    ]
    tree.channels["train_annotation"] = "x"
    assert tree.faults()[0] == (
        "inputdataconfig.json: train_annotation is 'x'; it must be an object such as {\"ContentType\": ...}"
    )


def test_channels_that_nobody_reads_are_noticed(tree):
    tree.channels |= {"test": {}, "train_annotation": {}, "odd one": 3}
    assert tree.read().notices == (
        "inputdataconfig.json: channel 'odd one' is ignored, no part of the job reads it",
        "inputdataconfig.json: channel test is ignored, no part of the job reads it",
        "inputdataconfig.json: channel train_annotation is ignored, because train is RecordIO",
    )


def emptied(tree, name: str) -> Path:
    folder = tree.data / name
    for file in sorted(folder.rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    return folder


THERE = "the data of the train channel must be there"


def test_a_folder_that_is_missing(tree):
    emptied(tree, "train").rmdir()
    assert tree.faults() == [f"input/data/train: there is no such folder; {THERE}"]


def test_a_folder_that_is_a_file(tree):
    emptied(tree, "train").rmdir()
    (tree.data / "train").write_text("x")
    assert tree.faults() == ["input/data/train: it is a file; it must be a folder with the data of the train channel"]


def test_a_folder_with_only_folders_and_hidden_files(tree):
    (emptied(tree, "train") / "deep" / "er").mkdir(parents=True)
    tree.file("train/deep/._train.rec")
    assert tree.faults() == [f"input/data/train: the folder holds no files; {THERE}"]


def test_folders_that_systems_keep_for_themselves_are_no_data(tree):
    for folder in ("lost+found", "a/@eaDir", "__MACOSX", "System Volume Information", "$RECYCLE.BIN"):
        tree.file(f"train/{folder}/deep/b.rec")
    assert tree.read().train.record_files().found == [tree.data / "train" / "train.rec"]
    (tree.data / "train" / "train.rec").unlink()
    assert tree.faults() == [f"input/data/train: the folder holds no files; {THERE}"]


@pytest.mark.parametrize("content", ["recordio", "images"])
def test_the_top_of_a_disk_is_a_channel_although_its_lost_and_found_is_closed(open_tree, content):
    """As ext4 has it there, for root alone."""
    if content == "images":
        open_tree.images()
    for name in open_tree.channels:
        (open_tree.data / name / "lost+found").mkdir(mode=0)

    def read() -> str:
        try:
            return read_job(open_tree.base).train.content
        except UserError as error:
            return error.sentence

    open_tree.write()
    assert said_as_another_user(read) == content


def test_a_folder_that_cannot_be_read(tree):
    emptied(tree, "train").rmdir()
    (tree.data / "train").symlink_to("train")
    assert tree.faults() == [
        f"{tree.data / 'train'}: it cannot be read (Too many levels of symbolic links); "
        "the data of the train channel must be readable"
    ]


def test_images_in_a_recordio_channel(tree):
    emptied(tree, "train")
    for name in ("1.jpg", "2.JPG", "b/3.jpg", "notes"):
        tree.file(f"train/{name}")
    assert tree.faults() == [
        "input/data/train: there is no .rec file, but 3 .jpg and 1 without a suffix; for images set ContentType to "
        "application/x-image and add the train_annotation channel"
    ]


def test_something_else_in_a_recordio_channel(tree):
    emptied(tree, "train")
    for name in ("1.csv", "2.csv", "3.tar", "4.tar", "5.lst", "6.idx"):
        tree.file(f"train/{name}")
    assert tree.faults() == [
        "input/data/train: there is no .rec file, but 2 .csv, 2 .tar, 1 .idx and others; the channel must hold "
        "at least one"
    ]


def test_several_record_files(tree):
    for name in ("b.REC", "train.idx", "more/a.rec", "more/._a.rec", "c.idx"):
        tree.file(f"train/{name}")
    search = tree.read().train.record_files()
    names = [file.relative_to(tree.data / "train").as_posix() for file in search.found]
    assert names == ["b.REC", "more/a.rec", "train.rec"]
    assert search.others[".idx"] == 2


def test_empty_ones_among_several_record_files(tree):
    for name in ("a.rec", "more/b.rec"):
        tree.file(f"train/{name}", b"")
    assert tree.faults() == [
        "input/data/train/a.rec: the file is empty; pack the images again",
        "input/data/train/more/b.rec: the file is empty; pack the images again",
    ]


def test_an_empty_record_file(tree):
    tree.file("train/train.rec", b"")
    assert tree.faults() == ["input/data/train/train.rec: the file is empty; pack the images again"]


MOUNTED = "put the files themselves into the channel: inside a container only what is mounted is there"


def test_a_record_file_that_is_a_link_to_nowhere(tree, tmp_path):
    train = tree.data / "train"
    (train / "train.rec").rename(tmp_path / "part-0.rec")
    (train / "part-0.rec").symlink_to(tmp_path / "part-0.rec")
    (train / ".hidden.rec").symlink_to(tmp_path / "gone.rec")
    (train / "train.idx").symlink_to(tmp_path / "gone.idx")
    channel = tree.read().train
    assert channel.record_files().found == [train / "part-0.rec"]
    for number in (1, 2):
        (train / f"part-{number}.rec").symlink_to(tmp_path / f"part-{number}.rec")
    fault = f"it is a link to {tmp_path}/part-1.rec, which is not there (and 1 more like it); {MOUNTED}"
    assert tree.faults() == [f"input/data/train/part-1.rec: {fault}"]
    with pytest.raises(UserError) as caught:
        channel.record_files()
    assert caught.value.sentence == f"{train}/part-1.rec: {fault}"


@pytest.mark.parametrize("name", ["train.rec", "deep/down"])
def test_a_channel_of_nothing_but_a_link_to_nowhere(tree, name):
    link = emptied(tree, "train") / name
    link.parent.mkdir(exist_ok=True)
    link.symlink_to("../elsewhere")
    assert tree.faults() == [f"input/data/train/{name}: it is a link to ../elsewhere, which is not there; {MOUNTED}"]


def test_a_link_to_nowhere_beside_files_that_do_not_fit(tree):
    tree.images()
    emptied(tree, "train_annotation")
    link = tree.data / "train_annotation" / "1.json"
    link.symlink_to("1.json.orig")
    tree.file("train_annotation/README")
    assert tree.faults() == [
        f"input/data/train_annotation/1.json: it is a link to 1.json.orig, which is not there; {MOUNTED}",
        "input/data/train_annotation: there is no .json file, but 1 without a suffix; the channel must hold one JSON "
        "file for each image",
    ]


def test_the_record_file_stands_below_beside_other_files(tree):
    emptied(tree, "train")
    tree.file("train/._deep.rec")
    tree.file("train/a/b/deep.rec")
    tree.file("train/a/b/deep.idx")
    (tree.data / "train" / "a" / "loop").symlink_to(tree.data / "train")
    channel = tree.read().train
    assert channel.record_files().found == [tree.data / "train" / "a" / "b" / "deep.rec"]
    emptied(tree, "train/a/b")
    with pytest.raises(UserError, match=r"no .rec file any more$"):
        channel.record_files()


def test_a_record_file_in_an_image_channel(tree):
    tree.images()
    emptied(tree, "train")
    tree.file("train/train.rec")
    emptied(tree, "validation")
    tree.file("validation/1.bmp")
    assert tree.faults() == [
        "input/data/train: there is no .jpg, .jpeg or .png file, but 1 .rec; for a .rec file set ContentType to "
        "application/x-recordio",
        "input/data/validation: there is no .jpg, .jpeg or .png file, but 1 .bmp; only .jpg, .jpeg and .png are looked "
        "at: for each, rename it to .jpg, since what it holds is read, or save it as JPEG or PNG",
    ]
    emptied(tree, "train")
    emptied(tree, "validation")
    for name in ("train/1.GIF", "train/2.gif", "train/3.webp", "validation/1.txt"):
        tree.file(name)
    assert tree.faults() == [
        "input/data/train: there is no .jpg, .jpeg or .png file, but 2 .gif and 1 .webp; only .jpg, .jpeg and .png are "
        "looked at: for each, save it as JPEG or PNG",
        "input/data/validation: there is no .jpg, .jpeg or .png file, but 1 .txt; the channel must hold the images",
    ]


def test_annotation_folders(tree):
    tree.images()
    emptied(tree, "train_annotation")
    emptied(tree, "validation_annotation")
    tree.file("validation_annotation/1.xml")
    assert tree.faults() == [
        "input/data/train_annotation: the folder holds no files; the data of the train_annotation channel must be "
        "there",
        "input/data/validation_annotation: there is no .json file, but 1 .xml; the channel must hold one JSON file "
        "for each image, and XML is none: if it is Pascal VOC's, turn it into channels with python -m "
        "sagemaker_ssd.convert voc",
    ]


@pytest.mark.parametrize("name", ["1.jpeg", "1.PNG", "x/y/z/1.JpG"])
def test_image_names(tree, name):
    tree.images()
    emptied(tree, "train")
    tree.file(f"train/{name}")
    assert tree.read().train.content == "images"


def test_many_images_are_not_all_looked_at(tree):
    tree.images()
    for number in range(3000):
        tree.file(f"train/b/{number}.jpg")
    start = time.perf_counter()
    tree.read()
    assert time.perf_counter() - start < 0.1


def test_a_second_record_file_is_found_among_very_many_files(tree):
    for number in range(10_001):
        tree.file(f"train/b/{number}", b"")
    second = tree.file("train/b/c/second.rec")
    assert tree.read().train.record_files().found == [second, tree.data / "train" / "train.rec"]
