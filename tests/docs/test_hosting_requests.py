"""The requests of boto3 in docs/hosting.md, taken out of it: the services' own descriptions accept them.

And its loop around a request, by boto3 itself, with answers as SageMaker's instead of a network.
"""

import ast
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.awsrequest import AWSRequest, AWSResponse
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from test_readme import blocks
from test_readme_request import service_faults

PAGE = (Path(__file__).parent.parent.parent / "docs" / "hosting.md").read_text()
SERVICES = [botocore.session.Session().get_service_model(name) for name in ("sagemaker", "sagemaker-runtime")]
OPERATIONS = {name.lower(): service.operation_model(name) for service in SERVICES for name in service.operation_names}


def value(node: ast.expr) -> Any:
    """Read a literal; the bytes of a file stand for what is read there."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return b"photo"


def calls() -> list[tuple[str, dict[str, Any]]]:
    """Return every call of an operation with keywords, and these."""
    found = []
    for snippet in blocks("python"):
        if "import boto3\n" not in snippet or snippet not in PAGE:
            continue
        for node in ast.walk(ast.parse(snippet)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.keywords:
                name = node.func.attr.replace("_", "")
                if name in OPERATIONS:
                    found.append((name, {str(keyword.arg): value(keyword.value) for keyword in node.keywords}))
    return found


CALLS = calls()


def test_the_page_has_a_call_of_every_step():
    steps = {"createmodel", "createendpointconfig", "createendpoint", "invokeendpoint", "createtransformjob"}
    assert {name for name, _ in CALLS} >= steps | {"invokeendpointasync"}


@pytest.mark.parametrize(("name", "parameters"), CALLS, ids=[name for name, _ in CALLS])
def test_the_service_accepts_the_request(name: str, parameters: dict[str, Any]):
    shape = OPERATIONS[name].input_shape
    assert ParamValidator().validate(parameters, shape).generate_report() == ""
    # Where the patterns are not Java's.
    if not name.startswith("invokeendpoint"):
        assert list(service_faults(parameters, shape)) == []


class Body(io.BytesIO):
    """A body as urllib3 gives it to botocore."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def answer(status: int, error: str = "", **body: Any) -> tuple[int, dict[str, str], bytes]:
    return status, {"x-amzn-ErrorType": error} if error else {}, json.dumps(body).encode()


DETECTED = answer(200, prediction=[])
# As SageMaker answers what the container has answered with 503, and with 400, and while it fetches a model.
FULL = answer(424, "ModelError", Message="full", OriginalMessage="full", OriginalStatusCode=503)
REFUSED = answer(424, "ModelError", Message="no image", OriginalMessage="no image", OriginalStatusCode=400)
NOT_READY = answer(429, "ModelNotReadyException", Message="the model is not ready")


@pytest.fixture
def retrying(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of the loop's snippet."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(variable, "of-no-account")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    (snippet,) = (snippet for snippet in blocks("python") if "OriginalStatusCode" in snippet)
    names: dict[str, Any] = {}
    exec(snippet, names)
    return names


def sent(client: Any, answers: Sequence[tuple[int, dict[str, str], bytes]]) -> list[str]:
    """Have the requests of a client answered so, the last for ever; return the list that holds their addresses."""
    addresses: list[str] = []

    def send(request: AWSRequest, **_: Any) -> AWSResponse:
        status, headers, body = answers[min(len(addresses), len(answers) - 1)]
        addresses.append(request.url)
        return AWSResponse(request.url, status, headers, Body(body))

    client.meta.events.register("before-send", send)
    return addresses


@pytest.mark.parametrize(
    ("answers", "requests"),
    [([DETECTED], 1), ([FULL, FULL, DETECTED], 3), ([NOT_READY, FULL, DETECTED], 3)],
)
def test_the_loop_tries_again_until_there_is_an_answer(retrying: dict[str, Any], answers: list[Any], requests: int):
    addresses = sent(retrying["runtime"], answers)
    assert json.loads(retrying["detect"](b"photo", pause=0.001)) == {"prediction": []}
    assert len(addresses) == requests


@pytest.mark.parametrize(("answers", "requests"), [([FULL], 4), ([NOT_READY], 4), ([REFUSED], 1), ([FULL, REFUSED], 2)])
def test_the_loop_ends_with_the_error(retrying: dict[str, Any], answers: list[Any], requests: int):
    addresses = sent(retrying["runtime"], answers)
    with pytest.raises(ClientError, match=r"full|not ready|no image"):
        retrying["detect"](b"photo", attempts=4, pause=0.001)
    assert len(addresses) == requests


@pytest.mark.parametrize("failure", [FULL, NOT_READY])
def test_boto3_alone_does_not_try_again(retrying: dict[str, Any], failure: Any):
    addresses = sent(retrying["runtime"], [failure])
    with pytest.raises(ClientError):
        retrying["runtime"].invoke_endpoint(EndpointName="my-detector", Body=b"photo")
    assert len(addresses) == 1
