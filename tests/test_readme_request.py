"""The requests of docs/sagemaker.md, taken out of it: boto3 accepts them, and so does the program."""

import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.validate import ParamValidator

from sagemaker_ssd.contract.hyperparameters import Hyperparameters
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.gpu import FAMILIES
from sagemaker_ssd.worker import log_lines

DOCS = Path(__file__).parent.parent / "docs"
REQUEST = (DOCS / "sagemaker.md").read_text()
RESUMING = (DOCS / "starting-weights.md").read_text()
SERVICE = botocore.session.Session().get_service_model("sagemaker")
CREATE_TRAINING_JOB = SERVICE.operation_model("CreateTrainingJob").input_shape
CREATE_TUNING_JOB = SERVICE.operation_model("CreateHyperParameterTuningJob").input_shape


def request() -> dict[str, Any]:
    """Return the request of the boto3 snippet, which runs up to the line that sends it."""
    return built("import boto3\n", "create_training_job(**request)", {})["request"]


def tuning_request() -> dict[str, Any]:
    names = {"request": request()}
    return built("tuning_request = ", "create_hyper_parameter_tuning_job(**tuning_request)", names)["tuning_request"]


def built(begin: str, call: str, names: dict[str, Any]) -> dict[str, Any]:
    """Return the names that the snippet with this begin makes before its last line, the call."""
    snippet = REQUEST[REQUEST.index(f"```python\n{begin}") :].split("```")[1].removeprefix("python\n")
    before, sent, after = snippet.partition(f'boto3.client("sagemaker").{call}\n')
    assert sent
    assert after == ""
    exec(before, names)
    return names


def request_with_checkpoints() -> dict[str, Any]:
    begin = RESUMING.index('```python\nrequest["CheckpointConfig"]')
    snippet = RESUMING[begin:].split("```")[1].removeprefix("python\n")
    names = {"request": request()}
    exec(snippet, names)
    return names["request"]


def validation_errors(parameters: dict[str, Any], shape: StructureShape = CREATE_TRAINING_JOB) -> str:
    return ParamValidator().validate(parameters, shape).generate_report()


def service_faults(value: Any, shape: Shape, where: str = "") -> Iterator[str]:
    """Yield what the service refuses and ParamValidator does not look at: patterns, lengths, names of instances."""
    if isinstance(shape, StructureShape):
        for name, part in value.items():
            yield from service_faults(part, shape.members[name], f"{where}.{name}")
    elif isinstance(shape, ListShape):
        for number, part in enumerate(value):
            yield from service_faults(part, shape.member, f"{where}[{number}]")
    elif isinstance(shape, MapShape):
        for name, part in value.items():
            yield from service_faults(name, shape.key, f"{where}.{name}")
            yield from service_faults(part, shape.value, f"{where}.{name}")
    rules = shape.metadata
    size = value if isinstance(value, int) else len(value)
    if size > rules.get("max", size):
        yield f"{where} is over {rules['max']}"
    if "enum" in rules and value not in rules["enum"]:
        yield f"{where} is none of the names"
    if "pattern" in rules and not re.fullmatch(rules["pattern"], value):
        yield f"{where} does not match"


def metric_definitions() -> dict[str, str]:
    definitions = request()["AlgorithmSpecification"]["MetricDefinitions"]
    assert len({entry["Name"] for entry in definitions}) == len(definitions)
    return {entry["Name"]: entry["Regex"] for entry in definitions}


@pytest.mark.parametrize("complete", [request, request_with_checkpoints])
def test_boto3_accepts_the_request(complete: Callable[[], dict[str, Any]]):
    assert validation_errors(complete()) == ""
    assert list(service_faults(complete(), CREATE_TRAINING_JOB)) == []


def test_boto3_accepts_the_tuning_request():
    asked = tuning_request()
    assert validation_errors(asked, CREATE_TUNING_JOB) == ""
    assert list(service_faults(asked, CREATE_TUNING_JOB)) == []


def test_every_end_of_the_tuned_ranges_is_a_hyperparameter_that_the_job_leaves_open():
    config, definition = (tuning_request()[part] for part in ("HyperParameterTuningJobConfig", "TrainingJobDefinition"))
    ranges = [each for kind in config["ParameterRanges"].values() for each in kind]
    static = definition["StaticHyperParameters"]
    assert {each["Name"] for each in ranges}.isdisjoint(static)
    for end in ("MinValue", "MaxValue"):
        tuned = {each["Name"]: each[end] for each in ranges}
        values = Hyperparameters.model_validate({**static, **tuned})
        assert {name: float(getattr(values, name)) for name in tuned} == {
            name: float(value) for name, value in tuned.items()
        }
    # What decides must be among the metrics.
    objective = config["HyperParameterTuningJobObjective"]["MetricName"]
    assert objective in {entry["Name"] for entry in definition["AlgorithmSpecification"]["MetricDefinitions"]}


@pytest.mark.parametrize(
    ("path", "wrong", "report"),
    [
        ("RoleArn", None, 'Missing required parameter in input: "RoleArn"'),
        ("HyperParameters.num_classes", 6, "Invalid type for parameter HyperParameters.num_classes, value: 6"),
        ("ResourceConfig.InstanceCount", "1", "Invalid type for parameter ResourceConfig.InstanceCount"),
        (
            "AlgorithmSpecification.MetricDefinition",
            [],
            'Unknown parameter in AlgorithmSpecification: "MetricDefinition"',
        ),
    ],
)
def test_boto3_refuses_a_broken_request(path: str, wrong: object, report: str):
    broken = copy.deepcopy(request())
    *parents, last = path.split(".")
    part = broken
    for name in parents:
        part = part[name]
    if wrong is None:
        del part[last]
    else:
        part[last] = wrong
    assert report in validation_errors(broken)


def test_the_service_refuses_a_broken_name():
    broken = copy.deepcopy(request())
    broken["TrainingJobName"] = "cards_1"
    broken["ResourceConfig"]["InstanceType"] = "ml.g5.tiny"
    faults = [".ResourceConfig.InstanceType is none of the names", ".TrainingJobName does not match"]
    assert sorted(service_faults(broken, CREATE_TRAINING_JOB)) == faults


def test_a_job_with_the_request_is_accepted_here(tmp_path: Path):
    asked = request()
    config = tmp_path / "input" / "config"
    config.mkdir(parents=True)
    channels = {}
    for channel in asked["InputDataConfig"]:
        name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
        channels[name] = {
            "ContentType": channel["ContentType"],
            "TrainingInputMode": asked["AlgorithmSpecification"]["TrainingInputMode"],
            "S3DistributionType": source["S3DataDistributionType"],
            "RecordWrapperType": "None",
        }
        (tmp_path / "input" / "data" / name).mkdir(parents=True)
        (tmp_path / "input" / "data" / name / f"{name}.rec").write_bytes(b"x")
    hosts = [f"algo-{number + 1}" for number in range(asked["ResourceConfig"]["InstanceCount"])]
    for file, content in (
        ("hyperparameters.json", asked["HyperParameters"]),
        ("inputdataconfig.json", channels),
        ("resourceconfig.json", {"current_host": hosts[0], "hosts": hosts}),
    ):
        (config / file).write_text(json.dumps(content))
    job = read_job(tmp_path)
    assert job.provided == asked["HyperParameters"]
    assert job.hyperparameters.lr_scheduler_step == (60, 80)
    assert (job.train.name, job.validation.name) == ("train", "validation")
    assert job.notices == ()


def test_every_metric_definition_takes_the_number_of_its_line_and_of_no_other():
    lines = {
        "train:progress": (log_lines.progress("algo-1", 3, 8), 37.5),
        "train:smooth_l1": (log_lines.smooth_l1("algo-1", 2, 19, 0.125), 0.125),
        "train:cross_entropy": (log_lines.cross_entropy("algo-1", 2, 19, 1.75e-05), 1.75e-05),
        "train:throughput": (log_lines.throughput("algo-1", 90, 4.0), 22.5),
        "validation:mAP": (log_lines.validation_map("algo-1", 2, 0.4321), 0.4321),
        "validation:best_mAP": (log_lines.best_validation_map("algo-1", 2, 0.5432), 0.5432),
    }
    definitions = metric_definitions()
    assert definitions.keys() == lines.keys()
    for name, regex in definitions.items():
        for other, (line, value) in lines.items():
            found = re.search(regex, f"[11/23/2026 01:00:00 INFO 140445624629056] {line}")
            if other == name:
                assert found
                assert found.re.groups == 1
                assert float(found[1]) == value
            else:
                assert found is None, f"{name} matches {line}"


def test_the_instance_families_exist():
    instances = CREATE_TRAINING_JOB.members["ResourceConfig"].members["InstanceType"].enum
    families = set(re.findall(r"ml\.\w+", FAMILIES))
    assert families <= {name.rpartition(".")[0] for name in instances}
    assert request()["ResourceConfig"]["InstanceType"].rpartition(".")[0] in families
