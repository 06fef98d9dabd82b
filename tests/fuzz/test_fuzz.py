"""The short form of the fuzzing, with the same examples each time; `long.py` is the other."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mutations import nested
from properties import (
    ANNOTATION,
    CHANNELS,
    HYPERPARAMETERS,
    PROPERTIES,
    RESOURCES,
    Property,
    Results,
    check_sentence,
    explore,
    job,
    pack,
)
from read_results import misread


@pytest.fixture(scope="module")
def results() -> Results:
    return Results()


@pytest.fixture(autouse=True)
def weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAGEMAKER_SSD_WEIGHTS", str(tmp_path / "none"))


@pytest.mark.parametrize("part", PROPERTIES, ids=lambda part: part.name)
def test_taken_or_refused_with_a_sentence(
    part: Property, results: Results, tmp_path_factory: pytest.TempPathFactory
) -> None:
    explore(part, tmp_path_factory.mktemp("examples"), results, examples=part.short)


def test_the_reader_takes_every_result(results: Results) -> None:
    if not results.files:
        pytest.skip("no example was tried")
    assert misread(results) == []


@pytest.mark.parametrize(
    ("key", "usual", "attempt"),
    [
        ("epochs", HYPERPARAMETERS, job("hyperparameters")),
        ("train", CHANNELS, job("inputdataconfig")),
        ("model", CHANNELS, job("inputdataconfig")),
        ("hosts", RESOURCES, job("resourceconfig")),
        ("file", ANNOTATION, pack),
        ("image_size", ANNOTATION, pack),
    ],
)
def test_no_depth_of_nesting_is_too_much(
    key: str, usual: dict[str, Any], attempt: Callable[[bytes, Path], object], tmp_path: Path
) -> None:
    # What is just read may be too deep to be written into a sentence.
    for depth in range(900, 1000):
        texts = {name: json.dumps(value) for name, value in usual.items()} | {key: nested(depth)}
        content = "{" + ", ".join(f'"{name}": {text}' for name, text in texts.items()) + "}"
        attempt(content.encode(), tmp_path / str(depth))


@pytest.mark.parametrize("sentence", ["", "2 problems:", "train.rec:\x00", "something is wrong", 'a.json: File "x.py"'])
def test_a_sentence_for_no_person_is_noticed(sentence: str) -> None:
    with pytest.raises(AssertionError):
        check_sentence(sentence, "a.json", "train.rec")
