"""The README says what the code does, and its snippets parse."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest

from sagemaker_ssd.contract.hyperparameters import hyperparameter_table
from sagemaker_ssd.supervisor.gpu import FAMILIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found
    return found


def test_the_table_of_hyperparameters_is_the_declarations():
    begin, end = "<!-- hyperparameters -->\n", "<!-- /hyperparameters -->"
    shown = README[README.index(begin) + len(begin) : README.index(end)]
    assert shown.strip() == hyperparameter_table().strip()


def test_every_make_target_it_names_exists():
    shell = [line for block in blocks("sh") for line in block.splitlines()]
    named = {line.split()[1] for line in shell if line.startswith("make ")}
    named |= set(re.findall(r"`make ([a-z-]+)[ `]", README))
    assert named >= {"train", "setup", "test", "lint", "image", "image-gpu", "test-container", "test-image-gpu"}
    assert all(f"\n{target}:" in MAKEFILE for target in named)


def test_the_make_variable_it_names_reaches_docker():
    (options,) = re.findall(r"`make image-gpu (BUILD_OPTIONS=\S+)`", README)
    shown = subprocess.check_output(["make", "--dry-run", "image-gpu", options], cwd=ROOT, text=True)
    assert f" {options.partition('=')[2]} " in shown


def test_the_instance_families_are_those_of_the_error():
    (row,) = re.findall(r"^\| GPU \| (.*?) Not ", README, re.MULTILINE)
    assert re.findall(r"`ml\.(\w+)`", row) == re.findall(r"ml\.(\w+)", FAMILIES)


def test_the_policy_is_json():
    (policy,) = [json.loads(block) for block in blocks("json") if "Statement" in block]
    allowed = {action for entry in policy["Statement"] for action in [entry["Action"]] if isinstance(action, str)}
    assert allowed >= {"s3:ListBucket", "ecr:GetAuthorizationToken"}
    assert {entry["Effect"] for entry in policy["Statement"]} == {"Allow"}


@pytest.mark.parametrize("snippet", blocks("python"), ids=lambda text: text.splitlines()[0])
def test_python_snippets_parse(snippet: str):
    ast.parse(snippet)


@pytest.mark.parametrize("snippet", blocks("sh"), ids=lambda text: text.splitlines()[0])
def test_shell_snippets_parse(snippet: str):
    done = subprocess.run(["bash", "-n"], input=snippet, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_the_links_within_the_page_lead_somewhere():
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    links = set(re.findall(r"\]\(#([^)]+)\)", README))
    assert links
    assert links <= anchors


def test_every_file_it_names_is_there():
    named = set(re.findall(r"`((?:local_test|tests)/[\w/.]+|buildspec\.yml)[ `]", README))
    assert named >= {"buildspec.yml", "local_test/train_local.sh"}
    assert all((ROOT / name).exists() for name in named)
