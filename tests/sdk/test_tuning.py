"""The tuners of docs/sagemaker.md, run by both SDKs: what they ask SageMaker for, which is a server of this test."""

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sdk_runner import ROOT, local_mode, make_environment

from test_readme_request import request, tuning_request

# The first test makes the environment.
pytestmark = pytest.mark.timeout(900)
PAGE = (ROOT / "docs" / "sagemaker.md").read_text()
# By version: what the SDK's snippets begin with, the line that trains, and the one that tunes.
SNIPPETS = {
    2: ("from sagemaker.estimator import", "estimator.fit(channels)", "from sagemaker.tuner import", "tuner.fit"),
    3: (
        "from sagemaker.core.training.",
        "trainer.train(input_data_config=channels)",
        "from sagemaker.core.parameter import",
        "tuner.tune",
    ),
}
DENIED = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>denied</Message></Error></ErrorResponse>"
NAME = "HyperParameterTuningJobName"
ARN = "arn:aws:sagemaker:eu-west-1:111122223333:hyper-parameter-tuning-job/cards"


def snippet(begin: str) -> str:
    """Return the first snippet of the page with this begin."""
    return next(
        found
        for found in re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
        if found.startswith(begin)
    )


def program(version: int) -> str:
    """Return the snippets of an SDK, which neither train nor wait for the tuning job's end."""
    of_sdk, trains, of_tuner, tunes = SNIPPETS[version]
    made, tuner = snippet(of_sdk), snippet(of_tuner)
    assert made.endswith(f"{trains}\n")
    assert tuner.endswith(f"{tunes}(channels)\n")
    return made.removesuffix(f"{trains}\n") + tuner.replace(f"{tunes}(channels)", f"{tunes}(channels, wait=False)")


@contextmanager
def sagemaker() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Give the address of a server in SageMaker's place, and the operations and bodies that it is asked for."""
    asked: list[tuple[str, Any]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            operation = self.headers.get("X-Amz-Target", "").removeprefix("SageMaker.")
            if operation:
                asked.append((operation, json.loads(body)))
                name = {NAME: asked[-1][1][NAME], "HyperParameterTuningJobArn": ARN}
                status, answer = 200, json.dumps(name).encode()
            else:
                # Version 3 asks IAM what the role allows, and goes on where it may not know.
                status, answer = 403, DENIED
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("version", SNIPPETS)
def test_the_tuner_asks_for_what_the_request_of_boto3_does(version: int, image: str, tmp_path: Path):
    names = {"request": request()}
    algorithm = names["request"]["AlgorithmSpecification"]
    given = {
        "image": algorithm["TrainingImage"],
        "role": names["request"]["RoleArn"],
        "hyperparameters": names["request"]["HyperParameters"],
        "metric_definitions": algorithm["MetricDefinitions"],
    }
    before = "".join(f"{name} = {value!r}\n" for name, value in given.items())
    folder = tmp_path / "mode"
    folder.mkdir()
    with local_mode(version, image, folder) as mode, sagemaker() as (address, asked):
        ended = subprocess.run(
            [make_environment(version), "-c", before + program(version)],
            env=mode.environment() | {"AWS_ENDPOINT_URL": address},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    (sent,) = [body for operation, body in asked if operation == "CreateHyperParameterTuningJob"]
    # What each SDK adds or leaves out.
    config, definition = sent["HyperParameterTuningJobConfig"], sent["TrainingJobDefinition"]
    assert config.pop("TrainingJobEarlyStoppingType") == "Off"
    ranges = config["ParameterRanges"]
    assert ranges.pop("CategoricalParameterRanges", []) == []
    assert ranges["IntegerParameterRanges"][0].pop("ScalingType") == "Auto"
    expected = tuning_request()
    if version == 2:
        definition["ResourceConfig"] = definition.pop("HyperParameterTuningResourceConfig")
    else:
        assert definition["OutputDataConfig"].pop("CompressionType") == "GZIP"
        definition["EnableNetworkIsolation"] = expected["TrainingJobDefinition"]["EnableNetworkIsolation"]
    assert config == expected["HyperParameterTuningJobConfig"]
    assert definition == expected["TrainingJobDefinition"]
