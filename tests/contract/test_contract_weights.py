"""The weights that are installed beside the program: found, missing, incomplete."""

import hashlib
import json

import pytest

from sagemaker_ssd.contract.environment import WEIGHTS_SOURCE_VARIABLE, WEIGHTS_VARIABLE
from sagemaker_ssd.contract.weights import required_weights, source_to_use, stored_weights
from sagemaker_ssd.errors import UserError

FACTS = {"source": "keras", "checksum": "sha256:00"}


@pytest.fixture
def store(tmp_path, monkeypatch):
    folder = tmp_path / "weights"
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(folder))
    monkeypatch.delenv(WEIGHTS_SOURCE_VARIABLE, raising=False)
    return folder


def install(store, name, facts=FACTS):
    """name: of both files; of an earlier version's the network alone, else NETWORK-SOURCE."""
    store.mkdir(exist_ok=True)
    (store / f"{name}.params").write_bytes(b"...")
    (store / f"{name}.json").write_text(facts if isinstance(facts, str) else json.dumps(facts))


@pytest.mark.parametrize("name", ["vgg-16-keras", "vgg-16"])
def test_a_job_gets_the_weights_of_its_network(tree, store, name):
    install(store, name)
    install(store, "resnet-50-onnx-zoo", {"source": "onnx-zoo"})
    tree.hyperparameters |= {"use_pretrained_model": "1", "base_network": "vgg-16"}
    weights = tree.read().weights
    assert weights.parameters == store / f"{name}.params"
    assert weights.facts == FACTS


def several(store):
    for source in ("keras", "coco-ssd"):
        install(store, f"vgg-16-{source}", {"source": source})
    install(store, "resnet-50-onnx-zoo", {"source": "onnx-zoo"})


@pytest.mark.parametrize(
    ("variable", "default", "used"),
    [
        (None, "keras", "keras"),
        (None, "coco-ssd", "coco-ssd"),
        ("coco-ssd", "keras", "coco-ssd"),
        (" resnet-50=onnx-zoo vgg-16=coco-ssd ", "keras", "coco-ssd"),
        ("resnet-50=onnx-zoo", "keras", "keras"),
        ("", "keras", "keras"),
        ("resnet-50=onnx-zoo,vgg-16=coco-ssd", "keras", "coco-ssd"),
        ("vgg-16 = coco-ssd , resnet-50=onnx-zoo,", "keras", "coco-ssd"),
        ("vgg-16=coco-ssd vgg-16=coco-ssd", "keras", "coco-ssd"),
        # What is said of a network goes before what is said of all.
        ("vgg-16=coco-ssd onnx-zoo", "keras", "coco-ssd"),
        (" , ", "keras", "keras"),
    ],
)
def test_one_of_several_sources(store, monkeypatch, variable, default, used):
    several(store)
    (store / "defaults.json").write_text(json.dumps({"vgg-16": default, "resnet-50": "gluoncv"}))
    if variable is not None:
        monkeypatch.setenv(WEIGHTS_SOURCE_VARIABLE, variable)
    assert source_to_use("vgg-16") == used
    assert required_weights("vgg-16").facts == {"source": used}
    # The only one that is installed is used whatever the default says.
    assert variable == "coco-ssd" or source_to_use("resnet-50") == "onnx-zoo"


@pytest.mark.parametrize("defaults", [None, "{", "[]", '{"resnet-50": "onnx-zoo"}'])
def test_none_of_several_is_guessed(tree, store, defaults):
    several(store)
    if defaults is not None:
        (store / "defaults.json").write_text(defaults)
    tree.hyperparameters |= {"use_pretrained_model": "1", "base_network": "vgg-16"}
    assert tree.faults() == [
        f"{store} holds weights for vgg-16 from coco-ssd and keras, and no defaults.json that says which are used: "
        "name one in the environment variable SAGEMAKER_SSD_WEIGHTS_SOURCE"
    ]


def test_a_default_whose_files_are_gone_is_not_replaced_by_another(tree, store):
    several(store)
    (store / "defaults.json").write_text('{"vgg-16": "gluoncv"}')
    tree.hyperparameters |= {"use_pretrained_model": "1", "base_network": "vgg-16"}
    assert tree.faults() == [
        f"{store} holds weights for vgg-16 from coco-ssd and keras, and its defaults.json says that those from "
        "'gluoncv' are used, which are not there: install these again (python -m sagemaker_ssd.weights fetch vgg-16 "
        "--source gluoncv), or name others in the environment variable SAGEMAKER_SSD_WEIGHTS_SOURCE"
    ]


def test_a_named_source_that_is_not_installed(tree, store, monkeypatch):
    several(store)
    monkeypatch.setenv(WEIGHTS_SOURCE_VARIABLE, "onnx-zoo")
    tree.hyperparameters |= {"use_pretrained_model": "1", "base_network": "vgg-16"}
    assert tree.faults() == [
        "environment variable SAGEMAKER_SSD_WEIGHTS_SOURCE names the source 'onnx-zoo' for vgg-16, but in "
        f"{store} coco-ssd or keras is installed: name an installed one, or install it (make image "
        "WEIGHTS=vgg-16=onnx-zoo; on a laptop: python -m sagemaker_ssd.weights fetch vgg-16 --source onnx-zoo)"
    ]


ALLOWED = (
    "It must be a source, such as coco-ssd, or one for each network, such as vgg-16=coco-ssd resnet-50=onnx-zoo, with "
    "blanks or commas between them. Sources are for vgg-16 keras, onnx-zoo, coco-ssd or gluoncv; for resnet-50 "
    "onnx-zoo or gluoncv"
)


@pytest.mark.parametrize(
    ("variable", "network", "told"),
    [
        ("vgg16=coco-ssd", "vgg-16", "'vgg16' is no network"),
        ("VGG-16=coco-ssd", "vgg-16", "'VGG-16' is no network"),
        ("=coco-ssd", "vgg-16", "'' is no network"),
        ("vgg-16:coco-ssd", "vgg-16", "'vgg-16:coco-ssd' is no source of weights"),
        (
            "vgg-16=coco-ssd;resnet-50=onnx-zoo",
            "vgg-16",
            "'coco-ssd;resnet-50=onnx-zoo' is no source of weights for vgg-16",
        ),
        ("vgg-16=", "vgg-16", "'vgg-16=' names no source"),
        ("coco-sdd", "vgg-16", "'coco-sdd' is no source of weights"),
        ("vgg-16=coco-sdd", "vgg-16", "'coco-sdd' is no source of weights for vgg-16"),
        ("coco-ssd", "resnet-50", "'coco-ssd' is no source of weights for resnet-50"),
        ("resnet-50=coco-ssd", "resnet-50", "'coco-ssd' is no source of weights for resnet-50"),
        ("keras coco-ssd", "vgg-16", "'keras' and 'coco-ssd' are both named"),
        ("vgg-16=keras vgg-16=coco-ssd", "vgg-16", "'keras' and 'coco-ssd' are both named for vgg-16"),
        # All at once, also what is said of the other network.
        (
            "vgg-16=coco-ssd,resnet50=onnx-zoo,resnet-50=kears",
            "vgg-16",
            "'resnet50' is no network, 'kears' is no source of weights for resnet-50",
        ),
    ],
)
def test_an_entry_that_is_not_allowed_is_told_and_nothing_is_used_instead(
    tree, store, monkeypatch, variable, network, told
):
    several(store)
    (store / "defaults.json").write_text(json.dumps({"vgg-16": "keras"}))
    monkeypatch.setenv(WEIGHTS_SOURCE_VARIABLE, variable)
    tree.hyperparameters |= {"use_pretrained_model": "1", "base_network": network}
    assert tree.faults() == [f"environment variable SAGEMAKER_SSD_WEIGHTS_SOURCE is '{variable}': {told}. {ALLOWED}"]


def test_another_source_that_is_damaged_does_not_matter(store):
    several(store)
    (store / "defaults.json").write_text('{"vgg-16": "keras"}')
    (store / "vgg-16-coco-ssd.json").write_text("{")
    assert required_weights("vgg-16").facts == {"source": "keras"}
    (store / "defaults.json").write_text('{"vgg-16": "coco-ssd"}')
    with pytest.raises(UserError, match=r"is damaged: .* fetch vgg-16 --source coco-ssd\)"):
        required_weights("vgg-16")


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
        "sagemaker_ssd.weights fetch resnet-50), or give a `pretrained` channel with a file of weights, or "
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
    assert stored_weights("vgg-16", "keras") is None


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
    install(store, "vgg-16-keras", {"sha256": hashlib.sha256(b"...").hexdigest()})
    weights = stored_weights("vgg-16", "keras")
    assert weights is not None
    weights.check()
    weights.parameters.write_bytes(b"..")
    with pytest.raises(UserError, match=r"keras\.params is damaged: its sha256 is .* fetch vgg-16 --source keras\)"):
        weights.check()
    weights.parameters.unlink()
    weights.parameters.mkdir()
    with pytest.raises(UserError, match=r"vgg-16-keras\.params is damaged: it cannot be read \(Is a directory\)"):
        weights.check()


def test_a_note_without_its_weights_is_none(store):
    install(store, "vgg-16")
    (store / "vgg-16.params").unlink()
    assert stored_weights("vgg-16", "keras") is None


def test_they_belong_to_the_environment(monkeypatch):
    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    # `make setup` has installed them.
    weights = stored_weights("vgg-16", "keras")
    assert weights is not None
    assert weights.facts["checksum"].startswith("sha256:")
