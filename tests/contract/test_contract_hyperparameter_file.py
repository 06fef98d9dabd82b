"""Every wrong hyperparameter, with the whole text that the person gets to see."""

import pytest

from sagemaker_ssd.contract.hyperparameter_file import parse_model_configuration, stored_number

WHOLE = "it must be a whole number, 1 or more"
CLASSES = "it must be a whole number from 1 to 38835"
TO_ONE = "it must be a number above 0 and at most 1"
SIDE = "it must be a whole number from 300 to 11584"
ONE_SIDE = "but it is one number, the side in pixels of the square that images are resized to"
STEPS = (
    "it must be numbers separated by commas such as 10, 20, each a whole number, 1 or more, "
    "and larger than the one before"
)
WRONG = [
    ("num_classes", "", "num_classes is required: a whole number from 1 to 38835"),
    ("num_classes", "None", "num_classes is required: a whole number from 1 to 38835"),
    ("num_training_samples", None, "num_training_samples is required: a whole number, 1 or more"),
    ("num_classes", "0", f"num_classes is '0'; {CLASSES}"),
    ("num_classes", "-3", f"num_classes is '-3'; {CLASSES}"),
    ("num_classes", 0, f"num_classes is '0'; {CLASSES}"),
    ("num_classes", True, f"num_classes is 'true'; {CLASSES}"),
    ("num_classes", "three", f"num_classes is 'three'; {CLASSES}"),
    ("num_classes", {"a": 1}, 'num_classes is {"a": 1}; write the value as a text in quotes'),
    *(
        (
            "num_classes",
            text,
            f"num_classes is '{text}', which no network can be built for: from 38836 on the weights that predict the "
            "classes on one feature map are more numbers than an array of MXNet can hold (2^31); "
            "it must be a whole number from 1 to 38835",
        )
        for text in ("38836", "9999999999", "1e300")
    ),
    (
        "mini_batch_size",
        "9999999999",
        "mini_batch_size is '9999999999', which is too large; the largest whole number is 2147483647",
    ),
    ("num_training_samples", "1,000", "num_training_samples is '1,000', which is not a number; write 1000"),
    ("num_training_samples", "1_000", "num_training_samples is '1_000', which is not a number; write 1000"),
    ("num_training_samples", "1 000", "num_training_samples is '1 000', which is not a number; write 1000"),
    ("num_training_samples", "1'234'567", "num_training_samples is '1'234'567', which is not a number; write 1234567"),
    # No groups of thousands: what is left without the comma would be another number than the one that was meant.
    ("num_training_samples", "30,0", f"num_training_samples is '30,0'; {WHOLE}"),
    ("num_training_samples", "1,00", f"num_training_samples is '1,00'; {WHOLE}"),
    ("num_training_samples", "0,500", f"num_training_samples is '0,500'; {WHOLE}"),
    ("num_training_samples", "1,000 000", f"num_training_samples is '1,000 000'; {WHOLE}"),
    ("num_training_samples", "0x10", f"num_training_samples is '0x10'; {WHOLE}"),
    (
        "num_training_samples",
        "9" * 100,
        f"num_training_samples is '{'9' * 80}...', which is too large; the largest whole number is 2147483647",
    ),
    ("mini_batch_size", "32.5", f"mini_batch_size is '32.5'; {WHOLE}"),
    ("mini_batch_size", "32 images", f"mini_batch_size is '32 images'; {WHOLE}"),
    ("epochs", "1e999", f"epochs is '1e999'; {WHOLE}"),
    ("epochs", "\u0663", f"epochs is '\u0663'; {WHOLE}"),
    ("epochs", "3\n- 4", f"epochs is '3\\n- 4'; {WHOLE}"),
    ("image_shape", "299", f"image_shape is '299'; {SIDE}"),
    ("image_shape", "0", f"image_shape is '0'; {SIDE}"),
    ("image_shape", "-300", f"image_shape is '-300'; {SIDE}"),
    # As image classification has it, and as people write sizes.
    *(
        ("image_shape", text, f"image_shape is '{text}', {ONE_SIDE}: write 300")
        for text in ("3,300,300", "300,300", "300,300,3", "[300, 300]", "(300, 300)", "300x300", "3 300 300")
    ),
    ("image_shape", [3, 512, 512], f"image_shape is '[3, 512, 512]', {ONE_SIDE}: write 512"),
    *(
        ("image_shape", text, f"image_shape is '{text}', {ONE_SIDE}: a whole number from 300 to 11584")
        for text in ("30,0", "300,400", "1,024", "3,224,224")
    ),
    *(
        (
            "image_shape",
            text,
            f"image_shape is '{text}', at which vgg-16 runs on no machine: from 5793 on the first layer of one image "
            "has more numbers than an array of MXNet can hold (2^31); it must be a whole number from 300 to 5792",
        )
        for text in ("5793", "1000000")
    ),
    ("label_width", "-1", f"label_width is '-1'; {WHOLE}"),
    ("learning_rate", "0,001", "learning_rate is '0,001', which is not a number; write 0.001"),
    # 1, or 1000?
    ("clip_gradient", "1,000", "clip_gradient is '1,000'; it must be a number above 0"),
    ("clip_gradient", "2,5", "clip_gradient is '2,5', which is not a number; write 2.5"),
    ("learning_rate", "5,0", f"learning_rate is '5,0'; {TO_ONE}"),
    ("learning_rate", "0", f"learning_rate is '0'; {TO_ONE}"),
    ("learning_rate", "1.1", f"learning_rate is '1.1'; {TO_ONE}"),
    ("learning_rate", "1e-999", f"learning_rate is '1e-999'; {TO_ONE}"),
    ("learning_rate", "NaN", f"learning_rate is 'NaN'; {TO_ONE}"),
    ("learning_rate", float("nan"), f"learning_rate is 'NaN'; {TO_ONE}"),
    ("learning_rate", "inf", f"learning_rate is 'inf'; {TO_ONE}"),
    ("learning_rate", "-Infinity", f"learning_rate is '-Infinity'; {TO_ONE}"),
    ("learning_rate", "1e999", f"learning_rate is '1e999'; {TO_ONE}"),
    ("learning_rate", "'0.1'", f"learning_rate is ''0.1''; {TO_ONE}"),
    ("lr_scheduler_factor", "1", "lr_scheduler_factor is '1'; it must be a number above 0 and below 1"),
    ("lr_scheduler_factor", "1/2", "lr_scheduler_factor is '1/2'; it must be a number above 0 and below 1"),
    ("momentum", "1.01", "momentum is '1.01'; it must be a number from 0 to 1"),
    ("weight_decay", "1", "weight_decay is '1'; it must be a number, 0 or more and below 1"),
    ("weight_decay", "-0.1", "weight_decay is '-0.1'; it must be a number, 0 or more and below 1"),
    ("nms_threshold", "45%", f"nms_threshold is '45%'; {TO_ONE}"),
    ("overlap_threshold", "0.0", f"overlap_threshold is '0.0'; {TO_ONE}"),
    ("early_stopping", "yes", "early_stopping is 'yes'; it must be True or False"),
    ("early_stopping", "2", "early_stopping is '2'; it must be True or False"),
    ("early_stopping_tolerance", "1.5", "early_stopping_tolerance is '1.5'; it must be a number from 0 to 1"),
    ("early_stopping_min_epochs", "0", f"early_stopping_min_epochs is '0'; {WHOLE}"),
    ("base_network", "resnet50", "base_network is 'resnet50'; it must be vgg-16 or resnet-50"),
    ("optimizer", "SGD", "optimizer is 'SGD'; it must be sgd, adam, rmsprop or adadelta"),
    ("optimizer", "nag", "optimizer is 'nag'; it must be sgd, adam, rmsprop or adadelta"),
    ("kv_store", "local", "kv_store is 'local'; it must be dist_sync or dist_async"),
    ("lr_scheduler_step", "20, 10", f"lr_scheduler_step is '20, 10'; {STEPS}"),
    ("lr_scheduler_step", "10, 10", f"lr_scheduler_step is '10, 10'; {STEPS}"),
    ("lr_scheduler_step", "0, 10", f"lr_scheduler_step is '0, 10'; {STEPS}"),
    ("lr_scheduler_step", "10,,20", f"lr_scheduler_step is '10,,20'; {STEPS}"),
    ("lr_scheduler_step", "10;20", f"lr_scheduler_step is '10;20'; {STEPS}"),
    ("lr_scheduler_step", "10.5", f"lr_scheduler_step is '10.5'; {STEPS}"),
    ("lr_scheduler_step", "[10, 20", f"lr_scheduler_step is '[10, 20'; {STEPS}"),
    ("lr_scheduler_step", ["10"], 'lr_scheduler_step is ["10"]; write the value as a text in quotes'),
    (
        "freeze_layer_pattern",
        "^(conv1_",
        "freeze_layer_pattern is '^(conv1_', which is not a regular "
        "expression: missing ), unterminated subpattern at character 2",
    ),
    (
        "freeze_layer_pattern",
        "conv1_.*|*",
        "freeze_layer_pattern is 'conv1_.*|*', which is not a regular expression: nothing to repeat at character 10",
    ),
    (
        "freeze_layer_pattern",
        "a{1}{99999999999}",
        "freeze_layer_pattern is 'a{1}{99999999999}', which is not "
        "a regular expression that can be used: the repetition number is too large",
    ),
    ("use_pretrained_model", "maybe", "use_pretrained_model is 'maybe'; it must be 1 or 0"),
    ("nms_topk", "0", f"nms_topk is '0'; {WHOLE}"),
    ("seed", "-1", "seed is '-1'; it must be a whole number from 0 to 2147483647"),
    ("seed", "2147483648", "seed is '2147483648', which is too large; the largest whole number is 2147483647"),
    (
        "precision_dtype",
        "float16",
        "precision_dtype is 'float16', which is not offered, since it has not been tried on a GPU; it must be "
        "float32, or bfloat16 for CPUs",
    ),
    ("precision_dtype", "float8", "precision_dtype is 'float8'; it must be float32 or bfloat16"),
    ("clip_gradient", "1e999", "clip_gradient is '1e999'; it must be a number above 0"),
    ("EPOCHS", "3", "EPOCHS is not a hyperparameter; did you mean epochs?"),
    ("clip_gradient", "0", "clip_gradient is '0'; it must be a number above 0"),
    ("clip_gradient", "5,5", "clip_gradient is '5,5', which is not a number; write 5.5"),
    ("warmup_epochs", "-1", "warmup_epochs is '-1'; it must be a whole number, 0 or more"),
    ("max_bad_images", "10", "max_bad_images is '10'; it must be a number from 0 to 1"),
    ("mini_batchsize", "8", "mini_batchsize is not a hyperparameter; did you mean mini_batch_size?"),
    ("Learning-Rate", "0.1", "Learning-Rate is not a hyperparameter; did you mean learning_rate?"),
    ("batch_size", "", "batch_size is not a hyperparameter; did you mean mini_batch_size?"),
    # Of image classification; num_classes, which is near to the one, is given.
    ("num_layers", "50", "num_layers is not a hyperparameter; remove it, or look up the name in the README's table"),
    ("xyz", "1", "xyz is not a hyperparameter; remove it, or look up the name in the README's table"),
    ("a b", "1", "'a b' is not a hyperparameter; remove it, or look up the name in the README's table"),
    ("", "1", "'' is not a hyperparameter; remove it, or look up the name in the README's table"),
    ("epochs", "\ud800", f"epochs is '\\ud800'; {WHOLE}"),
]


@pytest.mark.parametrize(("name", "value", "text"), WRONG, ids=lambda item: ascii(item)[:40])
def test_a_wrong_hyperparameter(tree, name, value, text):
    tree.hyperparameters[name] = value
    assert tree.faults() == [f"hyperparameters.json: {text}"]


def test_more_classes_than_the_chosen_network_can_be_built_for(tree):
    tree.hyperparameters |= {"num_classes": "19418", "base_network": "resnet-50"}
    assert tree.faults() == [
        "hyperparameters.json: base_network is 'resnet-50', which cannot be built for num_classes 19418: from 19418 "
        "classes on the weights that predict the classes on one feature map are more numbers than an array of MXNet "
        "can hold (2^31); it must be vgg-16, or num_classes at most 19417"
    ]
    for num_classes, base_network in (("19417", "resnet-50"), ("38835", "vgg-16")):
        tree.hyperparameters |= {"num_classes": num_classes, "base_network": base_network}
        assert tree.read().hyperparameters.num_classes == int(num_classes)


def test_what_is_left_out_is_told(tree):
    tree.hyperparameters = {}
    assert tree.faults() == [
        "hyperparameters.json: num_classes is required: a whole number from 1 to 38835",
        "hyperparameters.json: num_training_samples is required: a whole number, 1 or more",
    ]


def test_faults_of_all_hyperparameters_are_told_together(tree):
    tree.hyperparameters |= {"num_classes": "x", "seed": [1, "a"], "epochs": "0", "epoch": "1", "momentum": "2"}
    assert tree.faults() == [
        'hyperparameters.json: seed is [1, "a"]; write the value as a text in quotes',
        "hyperparameters.json: epoch is not a hyperparameter; did you mean epochs?",
        f"hyperparameters.json: num_classes is 'x'; {CLASSES}",
        f"hyperparameters.json: epochs is '0'; {WHOLE}",
        "hyperparameters.json: momentum is '2'; it must be a number from 0 to 1",
    ]


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ('{"image_shape": 512, "nms_threshold": 0.3}', {"image_shape": 512, "nms_threshold": 0.3}),
        ('{"image_shape": 512.0, "nms_topk": 1e2}', {"image_shape": 512, "nms_topk": 100}),
        ('{"image_shape": " 512 ", "nms_threshold": "\\"0.3\\""}', {"image_shape": 512, "nms_threshold": 0.3}),
        ('{"nms_topk": "", "nms_threshold": "None", "image_shape": null}', {}),
    ],
)
def test_a_models_numbers_are_read_as_those_of_a_job(stored: str, read: dict[str, float]):
    configuration = parse_model_configuration(stored.encode())
    names = ("image_shape", "nms_threshold", "nms_topk")
    assert {name: value for name in names if (value := stored_number(configuration, name)) is not None} == read


def test_a_models_booleans_and_lists_are_texts_and_what_is_neither_is_named(caplog: pytest.LogCaptureFixture):
    stored = b"""{"use_pretrained_model": 1, "early_stopping": true, "lr_scheduler_step": [10, 20], "epochs": null,
        "nms_topk": {"value": 100}, "nms_threshold": ["0.3"], "unknown": {}}"""
    assert parse_model_configuration(stored) == {
        "early_stopping": "true",
        "lr_scheduler_step": "[10, 20]",
        "use_pretrained_model": "1",
    }
    assert caplog.messages == [
        "The model's hyperparams.json has values that are neither texts nor numbers, and these are not used: "
        'nms_threshold ["0.3"] and nms_topk {"value": 100}.'
    ]
