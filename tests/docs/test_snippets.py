"""The snippets marked `<!-- runnable -->` run as they stand, in a folder that looks like a person's checkout."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
# The README's job makes the model that others use.
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = re.compile(r"^<!-- runnable -->\n```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TRAIN, VALIDATION = 6, 3


@dataclass(frozen=True)
class Snippet:
    page: str
    language: str
    text: str


SNIPPETS = [Snippet(page.name, *found) for page in PAGES for found in MARKED.findall(page.read_text())]


# The shell's snippets with a loop, which all wait for a server, also those that are not run.
WAITING = [
    text
    for page in PAGES
    for text in re.findall(r"^```sh\n(.*?)^```$", page.read_text(), re.M | re.S)
    if "\nuntil " in text
]


def run(snippet: Snippet, folder: Path) -> str:
    """Run a snippet as a person would paste it; return what it printed."""
    command = {"sh": ["bash", "-euo", "pipefail", "-c"], "python": [sys.executable, "-c"]}[snippet.language]
    # The source of this checkout, whichever one .venv was made for.
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(
        [*command, snippet.text],
        cwd=folder,
        env=surroundings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        printed, errors = process.communicate(timeout=280)
    finally:
        # A server that a snippet started and, having failed, did not end.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, f"{snippet.page}: {snippet.text}\n{printed[-3000:]}\n{errors[-3000:]}"
    return printed


def annotations(channel: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(channel.glob("*.json")):
        yield json.loads(path.read_text())


def write_voc(folder: Path, data: Path) -> None:
    """Write the drawn images as Pascal VOC: JPEGImages, Annotations, train.txt and val.txt."""
    (folder / "JPEGImages").mkdir()
    (folder / "Annotations").mkdir()
    for channel, listing in (("train", "train.txt"), ("validation", "val.txt")):
        names = []
        for found in annotations(data / f"{channel}_annotation"):
            stem, (size,) = Path(found["file"]).stem, found["image_size"]
            (folder / "JPEGImages" / found["file"]).write_bytes((data / channel / found["file"]).read_bytes())
            objects = "".join(
                f"<object><name>class{box['class_id']}</name><bndbox><xmin>{box['left']}</xmin><ymin>{box['top']}</ymin>"
                f"<xmax>{box['left'] + box['width']}</xmax><ymax>{box['top'] + box['height']}</ymax></bndbox></object>"
                for box in found["annotations"]
            )
            (folder / "Annotations" / f"{stem}.xml").write_text(
                f"<annotation><filename>{found['file']}</filename><size><width>{size['width']}</width>"
                f"<height>{size['height']}</height><depth>3</depth></size>{objects}</annotation>"
            )
            names.append(stem)
        (folder / listing).write_text("\n".join(names) + "\n")


def write_coco(folder: Path, data: Path) -> None:
    """Write the drawn training images as COCO: images and instances.json."""
    (folder / "images").mkdir()
    images: list[dict[str, Any]] = []
    boxes: list[dict[str, Any]] = []
    for number, found in enumerate(annotations(data / "train_annotation"), start=1):
        (size,) = found["image_size"]
        (folder / "images" / found["file"]).write_bytes((data / "train" / found["file"]).read_bytes())
        images.append({"id": number, "file_name": found["file"], "width": size["width"], "height": size["height"]})
        for box in found["annotations"]:
            corners = [box["left"], box["top"], box["width"], box["height"]]
            boxes.append({"id": len(boxes) + 1, "image_id": number, "category_id": box["class_id"], "bbox": corners})
    categories = [{"id": number, "name": f"class{number}"} for number in range(3)]
    (folder / "instances.json").write_text(
        json.dumps({"images": images, "annotations": boxes, "categories": categories})
    )


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with the program and a person's data; the hyperparameters are the snippet's own."""
    folder = tmp_path_factory.mktemp("checkout")
    for program in ("train", "serve"):
        (folder / program).symlink_to(ROOT / program)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    data = folder / "my_job" / "input" / "data"
    data.parent.mkdir(parents=True)
    drawing = [sys.executable, ROOT / "local_test" / "draw_sample.py", folder / "drawn"]
    subprocess.run([*drawing, "--train", str(TRAIN), "--validation", str(VALIDATION)], check=True, capture_output=True)
    (folder / "drawn" / "input" / "data").rename(data)
    (folder / "photo.jpg").write_bytes(next((data / "validation").glob("*.jpg")).read_bytes())
    write_voc(folder, data)
    write_coco(folder, data)
    return folder


@pytest.fixture(scope="module")
def trained(checkout: Path) -> Path:
    """Run the README's job, the first snippet of all."""
    printed = run(SNIPPETS[0], checkout)
    assert "Training is done. Model: my_job/model" in printed
    (checkout / "model.onnx").write_bytes((checkout / "my_job" / "output" / "data" / "model.onnx").read_bytes())
    return checkout


def test_the_snippets_that_are_run():
    assert [(snippet.page, snippet.language) for snippet in SNIPPETS] == [
        ("README.md", "sh"),
        ("data.md", "sh"),
        ("hosting.md", "sh"),
        ("starting-weights.md", "sh"),
        ("use-the-model.md", "sh"),
        ("use-the-model.md", "sh"),
        ("use-the-model.md", "sh"),
        ("use-the-model.md", "python"),
        ("use-the-model.md", "sh"),
    ]
    assert len(WAITING) == 2
    # No mark is before something else than a fence, where it would mark nothing.
    assert sum(page.read_text().count("\n<!-- runnable -->\n") for page in PAGES) == len(SNIPPETS)


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("text", WAITING, ids=range(len(WAITING)))
def test_who_waits_for_a_server_that_ends_does_not_wait_for_ever(shell: str, text: str, checkout: Path):
    """Pasted line by line, where no line that fails is the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        text = text.replace("8080", str(free.getsockname()[1]))
    faulty = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "SAGEMAKER_SSD_SCORE": "high"}
    done = subprocess.run([shell, "-c", text], cwd=checkout, env=faulty, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "SAGEMAKER_SSD_SCORE is 'high'" in (checkout / "serve.log").read_text()


@pytest.mark.long
def test_own_images_end_with_a_model(trained: Path):
    job = trained / "my_job"
    assert json.loads((job / "input" / "config" / "hyperparameters.json").read_text())["epochs"] == "1"
    model = ["hyperparams.json", "model_algo_1-0000.params", "model_algo_1-symbol.json"]
    assert sorted(path.name for path in (job / "model").iterdir()) == model
    assert not (job / "output" / "failure").exists()
    for name in ("metrics.json", "report.html", "ground_truth.json", "detections.json", "model.onnx", "deploy"):
        assert (job / "output" / "data" / name).exists(), name
    metrics = json.loads((job / "output" / "data" / "metrics.json").read_text())
    assert (metrics["data"]["train"]["images"], len(metrics["epochs"])) == (TRAIN, 1)


@pytest.mark.parametrize("snippet", [snippet for snippet in SNIPPETS if snippet.page == "data.md"], ids=["convert"])
def test_own_data_are_converted(snippet: Snippet, checkout: Path):
    printed = run(snippet, checkout)
    assert "num_classes" in printed
    assert "num_training_samples" in printed
    assert len(list((checkout / "voc_job" / "input" / "data" / "train").glob("*.jpg"))) == TRAIN
    assert (checkout / "coco_job" / "input" / "data" / "train" / "train.rec").exists()


@pytest.mark.parametrize(
    "snippet", [snippet for snippet in SNIPPETS if snippet.page == "starting-weights.md"], ids=["list"]
)
def test_installed_weights_are_listed(snippet: Snippet, checkout: Path):
    assert "vgg-16" in run(snippet, checkout)


@pytest.mark.long
@pytest.mark.parametrize(
    "snippet",
    [snippet for snippet in SNIPPETS if snippet.page == "use-the-model.md"],
    ids=["predict", "evaluate", "all-classes", "onnx", "export"],
)
def test_the_trained_model_is_used(snippet: Snippet, trained: Path):
    printed = run(snippet, trained)
    if "all-classes.onnx" in snippet.text:
        assert (trained / "all-classes.onnx").stat().st_size > 10_000_000
    elif "all-classes" in snippet.text:
        assert "detections of all-classes" in printed
        assert (
            json.loads((trained / "evaluation-all-classes" / "evaluation.json").read_text())["detections"]
            == "all-classes"
        )
    elif "predict" in snippet.text:
        lines = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
        assert len(lines) == 1 + VALIDATION
        assert all({"prediction"} <= set(line) for line in lines)
        assert len(list((trained / "pictures").iterdir())) == VALIDATION
    elif "evaluate" in snippet.text:
        made = {path.name for path in (trained / "evaluation").iterdir()}
        assert made == {"evaluation.json", "report.html", "ground_truth.json", "detections.json"}


@pytest.mark.long
@pytest.mark.parametrize("snippet", [snippet for snippet in SNIPPETS if snippet.page == "hosting.md"], ids=["serve"])
def test_the_trained_model_is_hosted(snippet: Snippet, trained: Path):
    # As it stands but for the port, which something else may use here.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    assert snippet.text.count("8080") == 4
    printed = run(replace(snippet, text=snippet.text.replace("8080", port)), trained)
    # One behind the other, as curl prints them.
    rows, end = json.JSONDecoder().raw_decode(printed)
    notes = json.loads(printed[end:])
    assert (rows.keys(), notes.keys()) == ({"prediction"}, {"image_size", "annotations"})
    assert [note["score"] for note in notes["annotations"]] == [row[1] for row in rows["prediction"]]
    assert (trained / "serve.log").read_text().splitlines()[-1].endswith("Stopped")
