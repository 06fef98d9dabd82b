"""`python -m sagemaker_ssd.evaluate` on a model and a channel of drawn images."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from command_runner import progress_of, run_command
from drawn_channels import encoded, json_box, noise, write_annotation, write_image, write_rec
from sagemaker_ssd.artifacts.model_files import write_model
from sagemaker_ssd.contract.model_folder import CONFIGURATION, PARAMETERS
from sagemaker_ssd.ssd.graphs import saved_graph
from sagemaker_ssd.ssd.initial_values import initial_parameters
from sagemaker_ssd.ssd.network import Network

NETWORK = Network("resnet-50", 300, num_classes=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    values = initial_parameters(saved_graph(NETWORK), 300, seed=1)
    for name, array in values.arguments.items():
        if name.endswith("_pred_conv_weight"):
            array[:] = np.random.RandomState(3).normal(0, 0.003, array.shape)
    folder = tmp_path_factory.mktemp("model")
    write_model(folder, saved_graph(NETWORK), values, {"image_shape": "300"})
    return folder


def evaluate(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_command("evaluate", *arguments)


def test_images_with_json(model: Path, tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / "validation" / f"{number}.png", encoded(noise(number)))
        write_annotation(
            tmp_path / "validation_annotation" / f"{number}.json",
            [json_box(1, 10, 10, 30, 20)],
            categories=[{"class_id": 0, "name": "cat"}, {"class_id": 1, "name": "dog"}],
        )
    done = evaluate(model, tmp_path / "validation", "--output", tmp_path / "out", "--batch-size", 2)
    assert done.returncode == 0, done.stderr
    assert "3 images, 3 objects" in done.stdout
    names = ["detections.json", "evaluation.json", "ground_truth.json", "report.html"]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names
    truth = json.loads((tmp_path / "out" / "ground_truth.json").read_text())
    # pycocotools copies both when it reads detections.
    assert {"info", "licenses"} <= truth.keys()
    assert [category["name"] for category in truth["categories"]] == ["cat", "dog"]
    assert truth["images"][2] == {"id": 2, "file_name": "2.png", "width": 80, "height": 40}
    assert truth["annotations"][0]["bbox"] == [10, 10, 30, 20]
    assert "dog" in (tmp_path / "out" / "report.html").read_text()


def test_records(model: Path, tmp_path: Path) -> None:
    box = [2, 6, 1, 0.25, 0.25, 0.5, 0.75, 1]
    write_rec(tmp_path / "validation" / "a.rec", [(box, encoded(noise(1))), ([2, 5, 0, 0, 0, 1, 1], encoded(noise(2)))])
    done = evaluate(model, tmp_path / "validation", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    # A difficult object is not one to find.
    assert "2 images, 1 objects" in done.stdout
    truth = json.loads((tmp_path / "out" / "ground_truth.json").read_text())
    assert [one["ignore"] for one in truth["annotations"]] == [1, 0]


def test_faults_are_told_in_a_sentence(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = evaluate(model, tmp_path / "empty")
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no .rec file in it, and no folder empty_annotation of JSONs beside it; give a .rec" in done.stderr
    write_rec(tmp_path / "wrong" / "a.rec", [([2, 5, 7, 0, 0, 1, 1], encoded(noise(2)))])
    done = evaluate(model, tmp_path / "wrong")
    assert done.returncode == 1
    assert "has class_id 7" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_rec_file_is_a_channel(model: Path, tmp_path: Path) -> None:
    file = write_rec(tmp_path / "data" / "validation.rec", [([2, 5, 0, 0, 0, 1, 1], encoded(noise(2)))])
    write_rec(tmp_path / "data" / "train.rec", [([2, 5, 7, 0, 0, 1, 1], encoded(noise(2)))])
    done = evaluate(model, file, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "1 images, 1 objects" in done.stdout


def test_rec_files_are_listed_as_by_a_job(model: Path, tmp_path: Path) -> None:
    """Whatever the case of the ending, in linked folders and in one with such a name, without hidden files."""
    record = ([2, 5, 0, 0, 0, 1, 1], encoded(noise(2)))
    channel = tmp_path / "validation"
    write_rec(channel / "VAL.REC", [record])
    write_rec(tmp_path / "elsewhere" / "b.rec", [record, record])
    (channel / "linked").symlink_to(tmp_path / "elsewhere")
    (channel / "._VAL.REC").write_bytes(b"what macOS adds")
    write_rec(channel / "old.rec" / "c.rec", [record])
    done = evaluate(model, channel, "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "4 images, 4 objects" in done.stdout
    (channel / "d.rec").symlink_to(tmp_path / "gone.rec")
    done = evaluate(model, channel, "--output", tmp_path / "again")
    assert done.returncode == 1
    assert f"{channel}/d.rec: it is a link to {tmp_path}/gone.rec, which is not there; put the files" in done.stderr


def test_annotations_lie_beside_a_link_and_so_many_bad_images_may_be_left_out(model: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "store" / "v2"
    for number in range(2):
        write_annotation(tmp_path / "val.2017_annotation" / f"{number}.json", [json_box(1, 10, 10, 30, 20)])
    write_image(pictures / "0.png", encoded(noise(0)))
    write_image(pictures / "1.png", b"no image")
    (tmp_path / "val.2017").symlink_to(pictures)
    done = evaluate(model, tmp_path / "val.2017", "--output", tmp_path / "out")
    assert done.returncode == 1
    assert "val.2017: 1 of 2 images cannot be used, and --max-bad-images (0.01) allows 0: " in done.stderr
    assert "leave them out, or raise --max-bad-images" in done.stderr
    done = evaluate(model, tmp_path / "val.2017", "--output", tmp_path / "out", "--max-bad-images", "0.5")
    assert done.returncode == 0, done.stderr
    assert "1 images, 1 objects" in done.stdout
    done = evaluate(model, tmp_path / "val.2017", "--max-bad-images", "2")
    assert done.returncode == 2
    assert "argument --max-bad-images: '2' is not a number from 0 to 1" in done.stderr


def test_a_link_of_another_ending_to_a_rec_file(model: Path, tmp_path: Path) -> None:
    write_rec(tmp_path / "val.rec", [([2, 5, 0, 0, 0, 1, 1], encoded(noise(2)))])
    (tmp_path / "newest").symlink_to(tmp_path / "val.rec")
    done = evaluate(model, tmp_path / "newest", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "1 images, 1 objects" in done.stdout


def test_jsons_beside_a_rec_file_name_its_classes(model: Path, tmp_path: Path) -> None:
    write_rec(tmp_path / "val" / "v.rec", [([2, 5, 0, 0, 0, 1, 1], encoded(noise(2)))])
    write_annotation(tmp_path / "val_annotation" / "0.json", [], categories=[{"class_id": 0, "name": "dog"}])
    done = evaluate(model, tmp_path / "val", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "dog" in (tmp_path / "out" / "ground_truth.json").read_text()


def test_what_is_no_channel_and_no_folder_of_annotations_is_told(model: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "validation" / "1.png", encoded(noise(1)))
    picture, document = tmp_path / "validation" / "1.png", tmp_path / "instances.json"
    document.write_text("{}")
    give = "give a .rec file, a folder of them, or a folder of images with one JSON each"
    for channel, options, said in (
        (tmp_path / "nowhere", (), f"there is no such file or folder; {give}"),
        (picture, (), f"it is a file, and not a .rec file; {give}"),
        (document, (), f"it is a file, and not a .rec file; {give}"),
        (
            tmp_path / "validation",
            ("--annotations", document),
            "it is a file; --annotations is a folder with one JSON for each image. `python -m sagemaker_ssd.convert` "
            "makes one of COCO's single file, and of PASCAL VOC's XMLs",
        ),
        (
            tmp_path / "validation",
            ("--annotations", tmp_path / "nowhere"),
            "there is no such folder; --annotations is a folder with one JSON for each image",
        ),
    ):
        done = evaluate(model, channel, *options)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"{options[1] if options else channel}: {said}\n"


def test_a_folder_that_cannot_be_written_to_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    """No model is there: else its absence is what is told."""
    file = write_rec(tmp_path / "a.rec", [([2, 5, 0, 0, 0, 1, 1], encoded(noise(2)))])
    document = tmp_path / "document"
    document.write_text("something")
    must = "--output must be a folder that can be written to, or one that is not there yet"
    for output, reason in (
        (document, "it is a file"),
        (document / "out", "Not a directory"),
        # Root may write into a folder without permissions, but nobody into this one.
        (Path("/proc"), "No such file or directory"),
    ):
        done = evaluate(tmp_path / "no model", file, "--output", output)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"{output}: no files can be made in it ({reason}); {must}\n"
    done = evaluate(tmp_path / "no model", file, "--output", tmp_path / "new" / "out")
    assert "there is no such file or folder; give a model.tar.gz" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.rec", "document"]


def test_an_overlap_threshold_of_the_model_that_means_nothing_is_told(model: Path, tmp_path: Path) -> None:
    (tmp_path / PARAMETERS).symlink_to(model / PARAMETERS)
    settings = {"image_shape": "300", "nms_threshold": "0.45", "nms_topk": "400", "overlap_threshold": "half"}
    (tmp_path / CONFIGURATION).write_text(json.dumps(settings))
    file = write_rec(tmp_path / "a.rec", [([2, 5, 0, 0, 0, 1, 1], encoded(noise(2)))])
    done = evaluate(tmp_path, file, "--output", tmp_path / "out")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "the model: its hyperparams.json has overlap_threshold 'half', and it must be a number above 0 and at most 1; "
        "give it by --overlap-threshold\n"
    )
    done = evaluate(tmp_path, file, "--output", tmp_path / "out", "--overlap-threshold", "0.5")
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_the_report_says_which_detections_its_figures_are_of(model: Path, tmp_path: Path) -> None:
    file = write_rec(tmp_path / "a.rec", [([2, 5, 0, 0, 0, 1, 1], encoded(noise(2)))])
    found = {}
    for options, kind in (((), "best-class"), (("--detections", "all-classes"), "all-classes")):
        folder = tmp_path / kind
        done = evaluate(model, file, "--output", folder, *options)
        assert done.returncode == 0, done.stderr
        document = json.loads((folder / "evaluation.json").read_text())
        found[kind] = document["best"]["detections"]
        assert len(json.loads((folder / "detections.json").read_text())) == found[kind] > 0
        assert document["detections"] == kind
        definition = document["definitions"]["detections"]
        assert ("of every class of an anchor" in definition) == (kind == "all-classes")
        assert f"<p>Detections of {kind}: {definition}.</p>" in (folder / "report.html").read_text()
        ending = "" if kind == "best-class" else " of all-classes"
        assert done.stdout.startswith(f"1 images, 1 objects, {found[kind]} detections{ending}\n")
    assert found["all-classes"] > found["best-class"]


# The command as it is, but with one detection in detections.json.
SHORT_LIST = """
import sys
from sagemaker_ssd.scoring import coco
coco.coco_results.__defaults__ = (1,)
from sagemaker_ssd.evaluate import main
sys.exit(main())
"""


def test_what_detections_json_has_no_room_for_is_counted_in_the_report(model: Path, tmp_path: Path) -> None:
    """One of two classes has no detection among those that are listed, and the objects are found by none of them."""
    categories = [{"class_id": 0, "name": "cat"}, {"class_id": 1, "name": "dog"}]
    for number in range(2):
        write_image(tmp_path / "validation" / f"{number}.png", encoded(noise(number)))
        boxes = [json_box(0, 1, 1, 3, 2), json_box(1, 70, 30, 2, 3)]
        write_annotation(tmp_path / "validation_annotation" / f"{number}.json", boxes, categories=categories)
    arguments = [str(word) for word in (model, tmp_path / "validation", "--output", tmp_path / "out")]
    command = [sys.executable, "-P", "-c", SHORT_LIST, *arguments]
    subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    best = json.loads((tmp_path / "out" / "evaluation.json").read_text())["best"]
    counts = {one["name"]: one["detections"] for one in best["classes"]}
    assert min(counts.values()) > 0
    assert sum(counts.values()) == best["detections"] > 2
    (listed,) = json.loads((tmp_path / "out" / "detections.json").read_text())
    report = (tmp_path / "out" / "report.html").read_text()
    for name, count in counts.items():
        row = re.search(rf'<th scope="row">{name}</th>.*?</tr>', report)
        assert row is not None
        assert row[0].endswith(f"<td>{count:,}</td></tr>")
    assert "Never detected" not in report
    assert f"Of the {best['detections']:,} detections the 1 with the highest scores are counted and drawn" in report
    assert "Not one detection of the 1 with the highest scores is right." in report
    above = re.findall(r"is not found at any score([^<]*)\.<br>", report)
    assert above
    assert all(words.startswith(" above ") and float(words.split()[-1]) >= listed["score"] for words in above)


def test_what_was_used_is_told_and_not_what_the_file_has(model: Path, tmp_path: Path) -> None:
    file = write_rec(tmp_path / "a.rec", [([2, 5, 0, 0, 0, 1, 1], encoded(noise(2)))])
    options = ("--image-shape", 320, "--overlap-threshold", "0.6", "--output", tmp_path / "out")
    done = evaluate(model, file, *options)
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert document["hyperparameters"] == {
        "base_network": "resnet-50",
        "image_shape": "320",
        "num_classes": "2",
        "nms_threshold": "0.45",
        "nms_topk": "400",
        "overlap_threshold": "0.6",
    }
    assert document["detection_dtype"] == "float32"
    report = (tmp_path / "out" / "report.html").read_text()
    assert "<title>Evaluation of resnet-50 at 320 pixels: object detection</title>" in report
    for name, value in (("image_shape", "320"), ("detection_dtype", "float32")):
        assert f'<th scope="row">{name}</th><td class="text">{value}</td>' in report


OFTEN = """
import sys
from sagemaker_ssd.scoring import command
command._FIRST_LINE_SECONDS = command._LINE_SECONDS = 0.1
from sagemaker_ssd.channels import findings
findings._SECONDS_BETWEEN_LINES = 0
from sagemaker_ssd.evaluate import main
sys.exit(main())
"""


def test_it_says_how_far_it_is(model: Path, tmp_path: Path) -> None:
    file = write_rec(tmp_path / "a.rec", [([2, 5, 0, 0, 0, 1, 1], encoded(noise(number))) for number in range(12)])
    arguments = [str(word) for word in (model, file, "--output", tmp_path / "out", "--batch-size", 1)]
    command = [sys.executable, "-P", "-c", OFTEN, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    lines = progress_of(done.stderr)
    assert done.stderr.splitlines() == lines
    assert done.stdout.startswith("12 images, 12 objects, ")
    assert lines[0] == "The command is under way, for 0:00:00 so far"
    assert "a: 12 images checked so far" in lines
    far = r"Detection: \d+ of 12 images in 0:00:\d\d, \d+\.\d images/s; about 0:00:\d\d left"
    assert any(re.fullmatch(far, line) for line in lines)
