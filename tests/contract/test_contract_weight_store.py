"""The weights that are installed beside the program: found, missing, incomplete."""

import json

import pytest

from sagemaker_ssd.contract.weight_store import VARIABLE, stored_weights

FACTS = {"source": "keras", "checksum": "sha256:00"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    monkeypatch.setenv(VARIABLE, str(folder))
    return folder


def install(store, network, facts=FACTS):
    store.mkdir(exist_ok=True)
    (store / f"{network}.params").write_bytes(b"...")
    (store / f"{network}.json").write_text(facts if isinstance(facts, str) else json.dumps(facts))


def test_a_job_gets_the_weights_of_its_network(tree, store):
    install(store, "vgg-16")
    tree.hyperparameters |= {"use_pretrained_model": "1", "base_network": "vgg-16"}
    weights = tree.read().weights
    assert weights.parameters == store / "vgg-16.params"
    assert weights.facts == FACTS


def test_a_job_from_scratch_gets_none(tree, store):
    install(store, "vgg-16")
    tree.hyperparameters |= {"use_pretrained_model": "0", "base_network": "vgg-16"}
    assert tree.read().weights is None


@pytest.mark.parametrize("given", [{"use_pretrained_model": "1"}, {"use_pretrained_model": None}])
def test_missing_weights_are_a_fault_with_three_ways_out(tree, store, given):
    install(store, "vgg-16")
    tree.hyperparameters |= {"base_network": "resnet-50", **given}
    tree.hyperparameters = {name: value for name, value in tree.hyperparameters.items() if value is not None}
    assert tree.faults() == [
        "hyperparameters.json: use_pretrained_model is 1, but no ImageNet weights for resnet-50 are installed: build "
        "the image with them (make image WEIGHTS=resnet-50), or give a `pretrained` channel with a .params file, or "
        "set use_pretrained_model to 0"
    ]


@pytest.mark.parametrize("facts", ["", "{", "[]", None])
def test_weights_without_their_note_are_none(store, facts):
    install(store, "vgg-16", facts or "")
    if facts is None:
        (store / "vgg-16.json").unlink()
    assert stored_weights("vgg-16") is None


def test_a_note_without_its_weights_is_none(store):
    install(store, "vgg-16")
    (store / "vgg-16.params").unlink()
    assert stored_weights("vgg-16") is None


def test_they_belong_to_the_environment(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    # `make setup` has installed them.
    weights = stored_weights("vgg-16")
    assert weights is not None
    assert weights.facts["checksum"].startswith("sha256:")
