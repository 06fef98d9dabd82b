"""What a job on several hosts needs, and what is left to each of its hosts."""

import pytest

from sagemaker_ssd.contract.channels import DataChannel

TWO = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2"]}
STORE = (
    "hyperparameters.json: kv_store is not set, and the job has 2 hosts: set it to dist_sync (all hosts make each step "
    "together, with the mean of their gradients) or dist_async (each host's updates count as they come), or set "
    "instance_count to 1"
)
VALIDATION = (
    "inputdataconfig.json: validation: S3DistributionType is ShardedByS3Key; on 2 hosts it must be FullyReplicated, "
    "because algo-1 alone computes the mAP, on the whole channel"
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
    assert pair.read().train == DataChannel("train", "recordio", pair.data / "train", None, sharded=True)
    pair.channels["validation"] = {"S3DistributionType": "ShardedByS3Key"}
    assert pair.faults() == [VALIDATION]


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
    pair.channels["validation_annotation"] = {"S3DistributionType": "ShardedByS3Key"}
    assert pair.faults() == [VALIDATION]


def test_all_faults_of_several_hosts_are_told_with_the_others(pair):
    pair.hyperparameters |= {"kv_store": "", "num_classes": "x"}
    pair.channels["validation"] = {"S3DistributionType": "ShardedByS3Key"}
    # kv_store cannot be judged where the hyperparameters could not be read.
    assert pair.faults() == [
        "hyperparameters.json: num_classes is 'x'; it must be a whole number from 1 to 38835",
        VALIDATION,
    ]
