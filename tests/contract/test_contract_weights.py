"""The weights that are installed beside the program: found, missing, incomplete."""

import hashlib
import json

import pytest

from sagemaker_ssd.contract.environment import WEIGHTS_VARIABLE
from sagemaker_ssd.contract.weights import stored_weights
from sagemaker_ssd.errors import UserError

FACTS = {"source": "keras", "checksum": "sha256:00"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(folder))
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
def test_missing_weights_are_a_fault_with_four_ways_out(tree, store, given):
    install(store, "vgg-16")
    tree.hyperparameters |= {"base_network": "resnet-50", **given}
    tree.hyperparameters = {name: value for name, value in tree.hyperparameters.items() if value is not None}
    assert tree.faults() == [
        "hyperparameters.json: use_pretrained_model is 1, but no ImageNet weights for resnet-50 are installed in "
        f"{store}: build the image with them (make image WEIGHTS=resnet-50), or fetch them on a laptop (python -m "
        "sagemaker_ssd.weights fetch resnet-50), or give a `pretrained` channel with a .params file, or "
        "set use_pretrained_model to 0"
    ]


@pytest.mark.parametrize("name", ["sagemaker-ssd-0003.json", "sagemaker-ssd-0003.params", "other.json"])
def test_a_job_with_a_checkpoint_needs_no_weights(tree, store, name):
    tree.hyperparameters |= {"use_pretrained_model": "1", "base_network": "resnet-50"}
    (tree.base / "checkpoints").mkdir()
    (tree.base / "checkpoints" / name).write_text("{}")
    if name.startswith("sagemaker-ssd-") and name.endswith(".json"):
        assert tree.read().weights is None
    else:
        assert f"are installed in {store}" in tree.faults()[0]


def test_weights_without_their_note_are_none(store):
    install(store, "vgg-16")
    (store / "vgg-16.json").unlink()
    assert stored_weights("vgg-16") is None


@pytest.mark.parametrize("facts", ["", "{", "[]", "[" * 200_000, b"\xff", None])
def test_a_damaged_note_is_not_the_same_as_none(tree, store, facts):
    install(store, "vgg-16")
    note = store / "vgg-16.json"
    if facts is None:
        note.unlink()
        note.mkdir()
    else:
        note.write_bytes(facts if isinstance(facts, bytes) else facts.encode())
    reason = "it cannot be read (Is a directory)" if facts is None else "it is not a JSON object"
    tree.hyperparameters |= {"use_pretrained_model": "1", "base_network": "vgg-16"}
    assert tree.faults() == [
        f"{note} is damaged: {reason}. Install the weights again (python -m sagemaker_ssd.weights fetch vgg-16), or "
        "build the image again"
    ]


def test_the_parameters_are_held_against_the_note(store):
    install(store, "vgg-16", {"sha256": hashlib.sha256(b"...").hexdigest()})
    weights = stored_weights("vgg-16")
    assert weights is not None
    weights.check()
    weights.parameters.write_bytes(b"..")
    with pytest.raises(UserError, match=r"vgg-16\.params is damaged: its sha256 is .* fetch vgg-16\)"):
        weights.check()
    weights.parameters.unlink()
    weights.parameters.mkdir()
    with pytest.raises(UserError, match=r"vgg-16\.params is damaged: it cannot be read \(Is a directory\)"):
        weights.check()


def test_a_note_without_its_weights_is_none(store):
    install(store, "vgg-16")
    (store / "vgg-16.params").unlink()
    assert stored_weights("vgg-16") is None


def test_they_belong_to_the_environment(monkeypatch):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    # `make setup` has installed them.
    weights = stored_weights("vgg-16")
    assert weights is not None
    assert weights.facts["checksum"].startswith("sha256:")
