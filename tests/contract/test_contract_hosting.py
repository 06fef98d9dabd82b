"""The environment variables of endpoints and batch transforms."""

import pytest

from sagemaker_ssd.contract.hosting import HostingSettings, read_hosting_port, read_hosting_settings
from sagemaker_ssd.errors import UserError

MB = 1 << 20


def test_an_endpoint_needs_no_variable():
    settings = read_hosting_settings({})
    assert settings == HostingSettings()
    assert (settings.port, settings.max_payload, settings.answer_seconds) == (8080, 25 * MB, 60)
    assert (settings.workers, settings.score, settings.class_names) == (None, 0.0, ())
    assert settings.detections == "best-class"
    assert not settings.multi_model


@pytest.mark.parametrize(("value", "multi_model"), [("true", True), ("True", True), ("false", False), ("", False)])
def test_a_multi_model_endpoint(value: str, multi_model: bool):
    assert read_hosting_settings({"SAGEMAKER_MULTI_MODEL": value}).multi_model == multi_model


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SAGEMAKER_BATCH": "true"}, (True, False, 100 * MB, 600)),
        ({"SAGEMAKER_BATCH": "True"}, (True, True, 100 * MB, 600)),
        ({"SAGEMAKER_BATCH": "false"}, (False, False, 25 * MB, 60)),
        ({"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6"}, (True, False, 6 * MB, 600)),
        ({"SAGEMAKER_BATCH": "true", "SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}, (True, False, 100 * MB, 600)),
        ({"SAGEMAKER_MAX_PAYLOAD_IN_MB": "0"}, (False, False, 100 * MB, 60)),
        ({"SAGEMAKER_SSD_ANSWER_SECONDS": "900"}, (False, False, 25 * MB, 900)),
        ({"SAGEMAKER_BATCH": "true", "SAGEMAKER_SSD_ANSWER_SECONDS": "3600"}, (True, False, 100 * MB, 3600)),
    ],
)
def test_batch_and_payload(variables: dict[str, str], expected: tuple[bool, bool, int, float]):
    found = read_hosting_settings(variables)
    assert (found.batch, found.local_mode, found.max_payload, found.answer_seconds) == expected
    assert found.payload_given == ("SAGEMAKER_MAX_PAYLOAD_IN_MB" in variables)


def test_names_with_and_without_commas():
    assert read_hosting_settings({"SAGEMAKER_SSD_CLASS_NAMES": "cat, dog"}).class_names == ("cat", "dog")
    assert read_hosting_settings({"SAGEMAKER_SSD_CLASS_NAMES": '["a, b", "c"]'}).class_names == ("a, b", "c")
    assert read_hosting_settings({"SAGEMAKER_SSD_CLASS_NAMES": '"cat","dog"'}).class_names == ("cat", "dog")
    assert read_hosting_settings({"SAGEMAKER_SSD_CLASS_NAMES": "(none),cat"}).class_names == ("(none)", "cat")


@pytest.mark.parametrize("kind", ["best-class", "all-classes"])
def test_which_classes_of_an_anchor_are_detected(kind: str):
    assert read_hosting_settings({"SAGEMAKER_SSD_DETECTIONS": f" {kind} "}).detections == kind


def test_all_faults_are_told_at_once():
    wrong = {
        "SAGEMAKER_BIND_TO_PORT": "70000",
        "SAGEMAKER_MAX_PAYLOAD_IN_MB": "6 MB",
        "SAGEMAKER_SSD_ANSWER_SECONDS": "3601",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "0",
        "SAGEMAKER_SSD_SCORE": "nan",
        "SAGEMAKER_SSD_DETECTIONS": "all",
        "SAGEMAKER_SSD_CLASS_NAMES": "cat,,dog",
        "OMP_NUM_THREADS": "1.5",
    }
    with pytest.raises(UserError) as error:
        read_hosting_settings(wrong)
    assert error.value.sentence.splitlines() == [
        "8 problems:",
        "- environment variable SAGEMAKER_BIND_TO_PORT is '70000'; it must be a whole number from 1 to 65535",
        "- environment variable SAGEMAKER_MAX_PAYLOAD_IN_MB is '6 MB'; it must be a whole number from 0 to 4096",
        "- environment variable SAGEMAKER_SSD_ANSWER_SECONDS is '3601'; it must be a whole number from 1 to 3600",
        "- environment variable SAGEMAKER_MODEL_SERVER_WORKERS is '0'; it must be a whole number from 1 to 256",
        "- environment variable SAGEMAKER_SSD_SCORE is 'nan'; it must be a number from 0 to 1",
        "- environment variable SAGEMAKER_SSD_DETECTIONS is 'all'; it must be best-class or all-classes",
        "- environment variable SAGEMAKER_SSD_CLASS_NAMES is 'cat,,dog'; it must name every class by its id, as in "
        'cat,dog or ["cat", "dog"], without an empty name',
        "- environment variable OMP_NUM_THREADS is '1.5'; it must be a whole number from 1 to 1024, or 0 for as many "
        "threads as there are processors",
    ]
    with pytest.raises(UserError):
        read_hosting_port(wrong)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # What a shell's Latin-1 becomes.
        ("K\udce4fig,dog", r"'K\udce4fig,dog'"),
        (r'["\ud83d", "dog"]', r"""'["\ud83d", "dog"]'"""),
    ],
)
def test_names_that_cannot_be_written_in_an_answer(text: str, told: str):
    with pytest.raises(UserError) as error:
        read_hosting_settings({"SAGEMAKER_SSD_CLASS_NAMES": text})
    assert error.value.sentence == (
        f"environment variable SAGEMAKER_SSD_CLASS_NAMES is {told}; its names must be text in UTF-8, without bytes of "
        "another encoding and without half a character such as \\ud83d"
    )
    # A whole one, however it is written.
    assert read_hosting_settings({"SAGEMAKER_SSD_CLASS_NAMES": r'["\ud83d\ude00", "K\u00e4fig"]'}).class_names == (
        "\U0001f600",
        "Käfig",
    )


@pytest.mark.parametrize(
    "text", ["[1]", "[", "[]x", '["a", ""]', ",", "[]", '{"0": "cat"}', "['cat', 'dog']", "'cat','dog'"]
)
def test_what_names_no_classes(text: str):
    with pytest.raises(UserError, match="it must name every class"):
        read_hosting_settings({"SAGEMAKER_SSD_CLASS_NAMES": text})
