"""Values as every SDK spells them, the flat strings, and the table."""

import json

import pytest

from sagemaker_ssd.contract.hyperparameters import Hyperparameters, hyperparameter_table

ALIKE = [
    ("early_stopping", True, ["True", "true", "TRUE", "1", " true ", '"True"', '"true"', True, 1]),
    ("early_stopping", False, ["False", "false", "0", "", "None", "null", None, False, 0]),
    ("use_pretrained_model", False, ["0", "false", "False", '"0"', 0, False]),
    ("use_pretrained_model", True, ["1", "true", "True", '"1"', 1, True, ""]),
    ("lr_scheduler_step", (10, 20), ["10, 20", "10,20", "[10, 20]", " 10 ,20 ", '"10, 20"', '["10", "20"]',
                                     "10.0, 20", [10, 20], '"[10, 20]"']),
    ("lr_scheduler_step", (10,), ["10", "[10]", " 10", '"10"', "10.0", 10]),
    ("lr_scheduler_step", (), ["", "[]", "None", "null", '""', " ", None, []]),
    ("optimizer", "adam", ["adam", '"adam"', " adam ", '" adam "']),
    ("base_network", "resnet-50", ["resnet-50", '"resnet-50"']),
    ("learning_rate", 0.1, ["0.1", "0.10", ".1", "1e-1", "1E-1", "+0.1", '"0.1"', " 0.1\n", 0.1]),
    ("learning_rate", 1.0, ["1", "1.", "1.0", 1]),
    ("mini_batch_size", 16, ["16", "16.0", "016", "1.6e1", '"16"', '"16.0"', 16, 16.0]),
    ("mini_batch_size", 32, ["", "None", "null", None, '"None"']),
    ("momentum", 0.0, ["0", "0.0", 0]),
    ("weight_decay", 0.0, ["0", "0.0"]),
    ("kv_store", None, ["", "-", "device", "None", '"device"']),
    ("freeze_layer_pattern", None, ["", "None", "null", None]),
    ("freeze_layer_pattern", "false", ["false", '"false"', False]),
    ("freeze_layer_pattern", "123", ["123", 123]),
    ("freeze_layer_pattern", r"^conv\d", [r"^conv\d", r'"^conv\\d"', r'"^conv\d"']),
    ("clip_gradient", None, ["", "None", None]),
    ("clip_gradient", 5.0, ["5", "5.0", 5]),
    ("seed", 2**31 - 1, ["2147483647", "2147483647.0"]),
    ("precision_dtype", "float32", ["float32", "", '"float32"']),
    ("precision_dtype", "bfloat16", ["bfloat16", '"bfloat16"']),
    ("max_bad_images", 0.01, ["", "0.01"]),
]  # fmt: skip
SPELLINGS = [(name, value, spelling) for name, value, spellings in ALIKE for spelling in spellings]


@pytest.mark.parametrize(("name", "value", "spelling"), SPELLINGS)
def test_spellings_read_alike(tree, name, value, spelling):
    tree.hyperparameters[name] = spelling
    read = getattr(tree.read().hyperparameters, name)
    assert read == value
    assert type(read) is type(value)


def test_provided_keeps_the_strings_as_given(tree):
    tree.hyperparameters |= {"learning_rate": " 0.10", "epochs": 5, "early_stopping": True, "sagemaker_x": {"a": 1}}
    provided = tree.read().provided
    assert provided == {
        "num_classes": "3",
        "num_training_samples": "10",
        "use_pretrained_model": "0",
        "learning_rate": " 0.10",
        "epochs": "5",
        "early_stopping": "true",
        "sagemaker_x": '{"a": 1}',
    }


def test_keys_of_the_platform_are_accepted(tree):
    tree.hyperparameters |= {
        "sagemaker_program": "x.py",
        "sagemaker_container_log_level": "20",
        "_tuning_objective_metric": "validation:mAP",
        "_kvstore": "device",
        "_num_kv_servers": "auto",
        "_begin_epoch": "0",
    }
    job = tree.read()
    assert job.notices == ()
    assert job.hyperparameters.final_configuration()["_tuning_objective_metric"] == "validation:mAP"


# The container's own default-input.json of 2022, from public job logs, but use_pretrained_model: the documentation
# gives 1, the container 0.
CONTAINER_DEFAULTS = {
    "base_network": "vgg-16", "use_pretrained_model": "1", "num_classes": "", "mini_batch_size": "32",
    "epochs": "30", "learning_rate": "0.001", "lr_scheduler_step": "", "lr_scheduler_factor": "0.1",
    "optimizer": "sgd", "momentum": "0.9", "weight_decay": "0.0005", "overlap_threshold": "0.5",
    "nms_threshold": "0.45", "num_training_samples": "", "image_shape": "300", "_tuning_objective_metric": "",
    "_kvstore": "device", "kv_store": "device", "_num_kv_servers": "auto", "label_width": "350",
    "freeze_layer_pattern": "", "nms_topk": "400", "early_stopping": "False",
    "early_stopping_min_epochs": "10", "early_stopping_patience": "5", "early_stopping_tolerance": "0.0",
    "_begin_epoch": "0",
}  # fmt: skip
OUR_DEFAULTS = {
    "seed": "0",
    "precision_dtype": "float32",
    "clip_gradient": "",
    "warmup_epochs": "0",
    "max_bad_images": "0.01",
}
# The hyperparams.json of a genuine model.tar.gz, but use_pretrained_model, which this version takes only as 0.
GENUINE = json.loads(
    '{"label_width": "150", "early_stopping_min_epochs": "10", "epochs": "50", "overlap_threshold": "0.5", '
    '"lr_scheduler_factor": "0.1", "_num_kv_servers": "auto", "weight_decay": "0.0005", "mini_batch_size": "16", '
    '"use_pretrained_model": "0", "freeze_layer_pattern": "", "lr_scheduler_step": "10", "early_stopping": "False", '
    '"early_stopping_patience": "5", "momentum": "0.9", "num_training_samples": "1408", "optimizer": "sgd", '
    '"_tuning_objective_metric": "", "early_stopping_tolerance": "0.0", "learning_rate": "0.001", '
    '"kv_store": "device", "nms_threshold": "0.45", "num_classes": "4", "base_network": "resnet-50", '
    '"nms_topk": "400", "_kvstore": "device", "image_shape": "512"}'
)


def test_default_configuration_is_the_containers_and_ours():
    assert Hyperparameters.default_configuration() == CONTAINER_DEFAULTS | OUR_DEFAULTS


def test_a_genuine_artifact_read_as_hyperparameters_gives_itself(tree):
    tree.hyperparameters = dict(GENUINE)
    job = tree.read()
    assert job.hyperparameters.artifact_configuration() == GENUINE
    assert job.notices == ()


def test_final_configuration_writes_every_value_as_a_flat_string(tree):
    given = {
        "num_classes": "20", "num_training_samples": "1e3", "use_pretrained_model": "False",
        "early_stopping": "1", "lr_scheduler_step": "[10, 20]", "learning_rate": "1e-5", "momentum": "0",
        "kv_store": "dist_sync", "clip_gradient": "5", "freeze_layer_pattern": '"^conv1_"', "_begin_epoch": "3",
    }  # fmt: skip
    tree.hyperparameters = given
    assert tree.read().hyperparameters.final_configuration() == CONTAINER_DEFAULTS | OUR_DEFAULTS | {
        "num_classes": "20", "num_training_samples": "1000", "use_pretrained_model": "0",
        "early_stopping": "True", "lr_scheduler_step": "10,20", "learning_rate": "1e-05", "momentum": "0.0",
        "kv_store": "device", "clip_gradient": "5.0", "freeze_layer_pattern": "^conv1_", "_begin_epoch": "3",
    }  # fmt: skip


def test_a_final_configuration_can_be_given_again(tree):
    tree.hyperparameters |= {"lr_scheduler_step": "3,7", "early_stopping": "true", "clip_gradient": "0.5"}
    first = tree.read().hyperparameters
    tree.hyperparameters = first.final_configuration()
    assert tree.read().hyperparameters == first


def test_hyperparameters_are_frozen_and_built_from_typed_values():
    chosen = Hyperparameters(
        num_classes=2, num_training_samples=5, use_pretrained_model=False, clip_gradient=None, kv_store="dist_async"
    )
    assert chosen.final_configuration()["kv_store"] == "dist_async"
    with pytest.raises(ValueError, match="frozen"):
        chosen.epochs = 3
    with pytest.raises(ValueError, match="greater than or equal to 300"):
        Hyperparameters(num_classes=2, num_training_samples=5, use_pretrained_model=False, image_shape=100)


def test_the_table_lists_every_field_once():
    head, rule, *rows = hyperparameter_table().splitlines()
    assert head == "| name | allowed | default | meaning |"
    assert rule == "|---|---|---|---|"
    names = [row.split("`")[1] for row in rows]
    # The specification's 22, then ours.
    assert len(names) == 28
    public = {name for name in CONTAINER_DEFAULTS | OUR_DEFAULTS if not name.startswith("_")}
    assert sorted(names) == sorted(public)
    assert all(len(row.replace("\\|", "").split("|")) == 6 for row in rows)
    assert rows[0] == (
        "| `num_classes` | a whole number from 1 to 38835 | required | classes in the data, background not counted; "
        "with resnet-50 at most 19417 are possible |"
    )
    assert "| `learning_rate` | a number above 0 and at most 1 | `0.001` | learning rate at the start |" in rows
    assert [name for name, row in zip(names, rows, strict=True) if "not documented for the built-in" in row] == [
        "nms_topk", "seed", "precision_dtype", "clip_gradient", "warmup_epochs", "max_bad_images"
    ]  # fmt: skip
