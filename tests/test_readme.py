"""The README and the pages of docs/ say what the code does, and their snippets parse."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest

from sagemaker_ssd.contract.hyperparameters import hyperparameter_table
from sagemaker_ssd.gpu import FAMILIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
TEXT = "\n".join(page.read_text() for page in PAGES)
TABLE = (ROOT / "docs" / "hyperparameters.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    assert found
    return found


def test_the_table_of_hyperparameters_is_the_declarations():
    begin, end = "<!-- hyperparameters -->\n", "<!-- /hyperparameters -->"
    shown = TABLE[TABLE.index(begin) + len(begin) : TABLE.index(end)]
    assert shown.strip() == hyperparameter_table().strip()


def test_the_hyperparameters_that_the_readme_shows_are_rows_of_the_table():
    begin = README.index("| name | allowed | default | meaning |")
    shown = README[begin : README.index("\n\n", begin)].splitlines()
    assert len(shown) == 2 + 10
    assert set(shown) <= set(hyperparameter_table().splitlines())


def test_every_make_target_it_names_exists():
    shell = [line for block in blocks("sh") for line in block.splitlines()]
    named = {line.split()[1] for line in shell if line.startswith("make ")}
    named |= set(re.findall(r"`make ([a-z-]+)[ `]", TEXT))
    assert named >= {"train", "setup", "test", "lint", "image", "image-gpu", "test-container", "test-image-gpu"}
    assert all(f"\n{target}:" in MAKEFILE for target in named)


def test_the_make_variable_it_names_reaches_docker():
    (options,) = re.findall(r"`make image-gpu (BUILD_OPTIONS=\S+)`", TEXT)
    shown = subprocess.check_output(["make", "--dry-run", "image-gpu", options], cwd=ROOT, text=True)
    assert f" {options.partition('=')[2]} " in shown


def test_the_instance_families_are_those_of_the_error():
    (row,) = re.findall(r"^\| GPU \| (.*?) Not ", TEXT, re.MULTILINE)
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
    found = set()
    for page in PAGES:
        headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
        links = set(re.findall(r"\]\(#([^)]+)\)", page.read_text()))
        assert links <= anchors, page.name
        found |= links
    assert found


def test_every_file_it_names_is_there():
    named = set(re.findall(r"`((?:local_test|tests)/[\w/.]+|buildspec\.yml)[ `]", TEXT))
    assert named >= {"buildspec.yml", "local_test/train_local.sh"}
    assert all((ROOT / name).exists() for name in named)


def test_the_readme_is_short_and_no_page_has_long_lines():
    assert len(README.splitlines()) <= 150
    for page in PAGES:
        # A row of a table is one line.
        long = [line for line in page.read_text().splitlines() if len(line) > 120 and not line.startswith("|")]
        assert long == [], page.name
