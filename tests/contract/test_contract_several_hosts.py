"""What a job on several hosts needs, and what is left to each of its hosts."""

import shutil

import pytest

from sagemaker_ssd.contract.channels import DataChannel

TWO = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]}
STORE = (
    "hyperparameters.json: kv_store is not set, and the job has 2 hosts: set it to dist_sync (all hosts make each step "
    "together, with the mean of their gradients) or dist_async (each host's updates count as they come), or set "
    "instance_count to 1"
)
NO_SHARE = (
    "S3DistributionType is ShardedByS3Key, which leaves a host without files where there are fewer of them than "
    "hosts: set it to FullyReplicated, or give the channel more files"
)
SHARDED = {"S3DistributionType": "ShardedByS3Key"}


def whole(channel):
    return (
        f"inputdataconfig.json: {channel}: S3DistributionType is ShardedByS3Key; on 2 hosts it must be "
        "FullyReplicated, because algo-1 alone computes the mAP, on the whole channel"
    )


@pytest.fixture
def pair(tree):
    """A job on two hosts."""
    tree.resources = TWO
    tree.hyperparameters["kv_store"] = "dist_sync"
    return tree


@pytest.mark.parametrize("kind", ["dist_sync", "dist_async"])
def test_two_hosts(pair, kind):
    pair.hyperparameters["kv_store"] = kind
    job = pair.read()
    assert job.cluster.hosts == ("algo-1", "algo-2")
    assert (job.cluster.current_host, job.cluster.is_first, job.cluster.several) == ("algo-2", False, True)
    assert job.hyperparameters.kv_store == kind
    assert job.hyperparameters.artifact_configuration()["kv_store"] == kind
    assert job.notices == ()


def test_the_first_host_is_the_first_of_the_list_whatever_its_name(pair):
    pair.resources = {"current_host": "algo-10", "hosts": ["algo-10", "algo-2"]}
    assert pair.read().cluster.is_first


def test_one_host_is_the_first(tree):
    assert (tree.read().cluster.is_first, tree.read().cluster.several) == (True, False)


@pytest.mark.parametrize("value", [None, "", "-", "device"])
def test_without_a_kind_of_exchange(pair, value):
    del pair.hyperparameters["kv_store"]
    if value is not None:
        pair.hyperparameters["kv_store"] = value
    assert pair.faults() == [STORE]


def test_a_wrong_kind_is_told_once(pair):
    pair.hyperparameters["kv_store"] = "dist"
    assert pair.faults() == ["hyperparameters.json: kv_store is 'dist'; it must be dist_sync or dist_async"]


def test_train_may_be_spread_over_the_hosts_and_validation_may_not(pair):
    pair.channels["train"] = {"S3DistributionType": "ShardedByS3Key"}
    assert pair.read().train == DataChannel("train", "recordio", pair.data / "train", None, ("train",))
    pair.channels["validation"] = {"S3DistributionType": "ShardedByS3Key"}
    assert pair.faults() == [whole("validation")]


@pytest.mark.parametrize(("name", "file"), [("model", "model.tar.gz"), ("pretrained", "vgg16-7.onnx")])
@pytest.mark.parametrize("given", [True, False])
def test_what_every_host_starts_from_may_not_be_spread_over_them(pair, name, file, given):
    """Told on the host that was given the file as on the one that was not, whose folder is missing."""
    pair.hyperparameters["use_pretrained_model"] = "1" if name == "pretrained" else "0"
    pair.channels[name] = {"S3DistributionType": "ShardedByS3Key"}
    cause = (
        f"inputdataconfig.json: {name}: S3DistributionType is ShardedByS3Key; on 2 hosts it must be FullyReplicated, "
        "because every host starts from the file in it"
    )
    if given:
        pair.file(f"{name}/{file}")
        assert pair.faults() == [cause]
    else:
        missing = f"input/data/{name}: there is no such folder; the data of the {name} channel must be there"
        assert pair.faults() == [missing, cause]


def test_on_one_host_nothing_is_spread(tree):
    tree.channels["model"] = {"S3DistributionType": "ShardedByS3Key"}
    tree.file("model/model.tar.gz")
    assert tree.read().model_channel == tree.data / "model"


def test_images_are_spread_where_their_annotations_are(pair):
    pair.images()
    pair.channels["train_annotation"] = {"S3DistributionType": "ShardedByS3Key"}
    assert (pair.read().train.sharded, pair.read().train.pairs_sharded) == (True, False)
    pair.channels["train"]["S3DistributionType"] = "ShardedByS3Key"
    assert pair.read().train.pairs_sharded
    del pair.channels["train_annotation"]["S3DistributionType"]
    assert (pair.read().train.sharded, pair.read().train.pairs_sharded) == (True, False)


@pytest.mark.parametrize(
    "sharded", [["validation"], ["validation_annotation"], ["validation", "validation_annotation"]], ids=str
)
def test_what_of_validation_is_spread_is_named(pair, sharded):
    pair.images()
    for name in sharded:
        pair.channels[name]["S3DistributionType"] = "ShardedByS3Key"
    assert pair.faults() == [whole(name) for name in sharded]


def emptied(tree, name):
    shutil.rmtree(tree.data / name)
    (tree.data / name).mkdir()
    return tree.data / name


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (None, "there is no such folder"),
        ([], "the folder holds no files"),
        (["train.idx"], "there is no .rec file, but 1 .idx"),
    ],
)
def test_a_host_without_a_share(pair, files, found):
    folder = emptied(pair, "train")
    folder.rmdir() if files is None else [pair.file(f"train/{name}") for name in files]
    pair.channels["train"] |= SHARDED
    assert pair.faults() == [f"input/data/train: {found}; {NO_SHARE}"]


def test_a_host_without_a_share_of_the_images(pair):
    """Each folder by how its own channel is spread."""
    pair.images()
    emptied(pair, "train")
    emptied(pair, "train_annotation")
    pair.file("train_annotation/1.lst")
    nothing = "input/data/train: the folder holds no files"
    no_json = "input/data/train_annotation: there is no .json file, but 1 .lst"
    must, one = "the data of the train channel must be there", "the channel must hold one JSON file for each image"
    pair.channels["train_annotation"] |= SHARDED
    assert pair.faults() == [f"{nothing}; {must}", f"{no_json}; {NO_SHARE}"]
    pair.channels["train"] |= SHARDED
    assert pair.faults() == [f"{nothing}; {NO_SHARE}", f"{no_json}; {NO_SHARE}"]
    del pair.channels["train_annotation"]["S3DistributionType"]
    assert pair.faults() == [f"{nothing}; {NO_SHARE}", f"{no_json}; {one}"]


@pytest.mark.parametrize(
    ("content", "folder", "file", "said"),
    [
        (
            "recordio",
            "train",
            "1.jpg",
            "for images set ContentType to application/x-image and add the train_annotation channel",
        ),
        ("images", "train", "train.rec", "for a .rec file set ContentType to application/x-recordio"),
        (
            "images",
            "train",
            "1.bmp",
            "only .jpg, .jpeg and .png are looked at: for each, rename it to .jpg, since what it holds is read, or "
            "save it as JPEG or PNG",
        ),
        (
            "images",
            "train",
            "1.heic",
            "only .jpg, .jpeg and .png are looked at: for each, save it as JPEG or PNG",
        ),
        (
            "images",
            "train_annotation",
            "1.xml",
            "the channel must hold one JSON file for each image, and XML is none: if it is Pascal VOC's, turn it into "
            "channels with python -m sagemaker_ssd.convert voc",
        ),
    ],
)
@pytest.mark.parametrize("hosts", [["algo-1"], ["algo-1", "algo-2"]], ids=len)
def test_files_that_explain_themselves_are_no_missing_share(tree, hosts, content, folder, file, said):
    tree.resources = {"current_host": "algo-1", "hosts": hosts}
    tree.hyperparameters["kv_store"] = "dist_sync"
    if content == "images":
        tree.images()
    emptied(tree, folder)
    tree.file(f"{folder}/{file}")
    tree.channels[folder] |= SHARDED
    (fault,) = tree.faults()
    assert fault.startswith(f"input/data/{folder}: there is no ")
    assert fault.endswith(f"; {said}")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ([], "the folder holds no files; the data of the train channel must be there"),
        (["1.idx"], "there is no .rec file, but 1 .idx; the channel must hold at least one"),
    ],
)
def test_one_host_has_every_share(tree, files, said):
    emptied(tree, "train")
    for name in files:
        tree.file(f"train/{name}")
    tree.channels["train"] |= SHARDED
    assert tree.faults() == [f"input/data/train: {said}"]


def test_all_faults_of_several_hosts_are_told_with_the_others(pair):
    pair.hyperparameters |= {"kv_store": "", "num_classes": "x"}
    pair.channels["validation"] = {"S3DistributionType": "ShardedByS3Key"}
    # kv_store cannot be judged where the hyperparameters could not be read.
    assert pair.faults() == [
        "hyperparameters.json: num_classes is 'x'; it must be a whole number from 1 to 38835",
        whole("validation"),
    ]
