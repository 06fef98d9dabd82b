"""The requests of boto3 in docs/hosting.md, taken out of it: the services' own descriptions accept them."""

import ast
from pathlib import Path
from typing import Any

import botocore.session
import pytest
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
    assert {name for name, _ in CALLS} >= steps


@pytest.mark.parametrize(("name", "parameters"), CALLS, ids=[name for name, _ in CALLS])
def test_the_service_accepts_the_request(name: str, parameters: dict[str, Any]):
    shape = OPERATIONS[name].input_shape
    assert ParamValidator().validate(parameters, shape).generate_report() == ""
    if name != "invokeendpoint":  # A body has no patterns.
        assert list(service_faults(parameters, shape)) == []
