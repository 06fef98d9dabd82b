"""local_test/draw_sample.py: the folder it makes, the boxes it writes, and what it leaves alone."""

import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from another_user import open_folder, said_as_another_user

SCRIPT = Path(__file__).parents[2] / "local_test" / "draw_sample.py"


def draw(output, *words):
    return subprocess.run(
        [sys.executable, "-I", str(SCRIPT), str(output), *map(str, words)], capture_output=True, text=True
    )


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_json(path):
    return json.loads(path.read_text())


def test_a_whole_job_of_images(tmp_path):
    done = draw(tmp_path, "--hyperparameter", "epochs=1", "--hyperparameter", "lr_scheduler_step=2,3=x")
    assert (done.returncode, done.stderr) == (0, "")
    config = tmp_path / "input/config"
    assert read_json(config / "hyperparameters.json") == {
        "base_network": "vgg-16",
        "use_pretrained_model": "1",
        "freeze_layer_pattern": "^(conv1_|conv2_).*",
        "num_classes": "3",
        "num_training_samples": "40",
        "mini_batch_size": "8",
        "epochs": "1",
        "image_shape": "300",
        "learning_rate": "0.001",
        "lr_scheduler_step": "2,3=x",
    }
    channel = {
        "ContentType": "image/jpeg",
        "TrainingInputMode": "File",
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    channels = ("train", "train_annotation", "validation", "validation_annotation")
    assert read_json(config / "inputdataconfig.json") == dict.fromkeys(channels, channel)
    resources = read_json(config / "resourceconfig.json")
    assert (resources["current_host"], resources["hosts"]) == ("algo-1", ["algo-1"])
    for name, count in {"train": 40, "validation": 12}.items():
        images = sorted(path.stem for path in (tmp_path / "input/data" / name).glob("*.jpg"))
        jsons = sorted(path.stem for path in (tmp_path / "input/data" / f"{name}_annotation").glob("*.json"))
        assert images == jsons
        assert len(images) == count


def test_boxes_enclose_what_is_drawn(tmp_path):
    draw(tmp_path, "--train", 30, "--validation", 1, "--size", "200x150", "--seed", 5)
    seen, empty = set(), 0
    for path in sorted((tmp_path / "input/data/train_annotation").iterdir()):
        annotation = read_json(path)
        image = Image.open(tmp_path / "input/data/train" / annotation["file"])
        assert image.size == (200, 150)
        assert annotation["image_size"] == [{"width": 200, "height": 150, "depth": 3}]
        pixels = np.asarray(image).astype(int)
        coloured = pixels.max(axis=2) - pixels.min(axis=2) > 70  # shapes have colours, the background is grey
        for box in annotation["annotations"]:
            seen.add(box["class_id"])
            left, top = box["left"], box["top"]
            rows, columns = np.nonzero(coloured[top : top + box["height"], left : left + box["width"]])
            # JPEG blurs the border, and a triangle's tip.
            assert rows.min() <= 4
            assert rows.max() >= box["height"] - 3
            assert columns.min() <= 4
            assert columns.max() >= box["width"] - 5
            coloured[max(0, top - 2) : top + box["height"] + 2, max(0, left - 2) : left + box["width"] + 2] = False
        assert not coloured.any()
        assert len(annotation["annotations"]) <= 4
        empty += not annotation["annotations"]
    assert seen == {0, 1, 2}
    assert empty == 3


def test_recordio_holds_the_same_boxes(tmp_path):
    from mxnet import recordio

    few = ("--train", 10, "--validation", 2, "--seed", 3)
    draw(tmp_path / "images", *few)
    done = draw(tmp_path / "rec", *few, "--content", "recordio")
    assert done.returncode == 0
    channels = read_json(tmp_path / "rec/input/config/inputdataconfig.json")
    assert {name: channel["ContentType"] for name, channel in channels.items()} == {
        "train": "application/x-recordio",
        "validation": "application/x-recordio",
    }
    file = recordio.MXRecordIO(str(tmp_path / "rec/input/data/train/train.rec"), "r")
    jsons = sorted((tmp_path / "images/input/data/train_annotation").iterdir())
    for path in jsons:
        header, image = recordio.unpack(file.read())
        assert image == (tmp_path / "images/input/data/train" / f"{path.stem}.jpg").read_bytes()
        expected = [2, 5]
        for box in read_json(path)["annotations"]:
            expected += [box["class_id"], box["left"] / 160, box["top"] / 120]
            expected += [(box["left"] + box["width"]) / 160, (box["top"] + box["height"]) / 120]
        assert header.label.tolist() == pytest.approx(expected if len(expected) > 2 else [2, 5, 0, 0.5, 0.5, 0.5, 0.5])
    assert file.read() is None
    assert len(header.label) == 7  # the tenth image has no shape


def test_the_seed_decides(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        draw(tmp_path / name, "--train", 3, "--validation", 1, "--seed", seed)
    drawn = {name: content_of(tmp_path / name) for name in "abc"}
    assert drawn["a"] == drawn["b"]
    assert drawn["a"]["input/data/train/train_0000.jpg"] != drawn["c"]["input/data/train/train_0000.jpg"]


def test_its_own_folder_is_replaced_and_no_other(tmp_path):
    few = ("--train", 3, "--validation", 1)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/kept").write_text("kept")
    draw(tmp_path, *few)
    assert draw(tmp_path, "--train", 2, "--validation", 1).returncode == 0
    assert len(list((tmp_path / "input/data/train").iterdir())) == 2
    assert (tmp_path / "model/kept").exists()
    other = tmp_path / "other"
    (other / "input").mkdir(parents=True)
    (other / "input/mine").write_text("mine")
    done = draw(other, *few)
    assert done.returncode == 1
    assert done.stderr == f"{other}/input was not drawn by this program: remove it, or name another folder\n"
    assert content_of(other) == {"input/mine": b"mine"}


@pytest.mark.parametrize("words", [("--size", "39x50"), ("--size", "50"), ("--train", "0"), ("--hyperparameter", "x")])
def test_wrong_usage(tmp_path, words):
    done = draw(tmp_path / "out", *words)
    assert done.returncode == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_whose_removal_broke_off_is_known_again(tmp_path, linked):
    few = ("--train", 3, "--validation", 1)
    draw(tmp_path, *few)
    if linked:
        (tmp_path / "input").rename(tmp_path / "elsewhere")
        (tmp_path / "input").symlink_to("elsewhere")
    shutil.rmtree(tmp_path / "input/config")
    (tmp_path / "input/link").symlink_to(tmp_path)
    assert draw(tmp_path, *few).returncode == 0
    assert not (tmp_path / "input/link").is_symlink()
    assert len(list((tmp_path / "input/data/train").iterdir())) == 3


def test_what_is_in_the_way_is_told_in_a_sentence(tmp_path):
    (tmp_path / "input").symlink_to("nowhere")
    done = draw(tmp_path, "--train", 1, "--validation", 1)
    said = f"{tmp_path}/input cannot be replaced (File exists): remove it, or name another folder\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_a_file_of_another_user_leaves_the_marker():
    spec = importlib.util.spec_from_file_location("draw_sample", SCRIPT)
    program = importlib.util.module_from_spec(spec)
    sys.modules["draw_sample"] = program
    spec.loader.exec_module(program)
    with open_folder() as folder:
        draw(folder, "--train", 1, "--validation", 1)
        kept = folder / "input/data/train"
        kept.chmod(0o555)
        if os.geteuid() == 0:
            for path in (folder, *folder.rglob("*")):
                if path != kept:
                    os.chown(path, 65534, 65534)

        def run() -> str:
            sys.argv = ["draw_sample.py", str(folder), "--train", "1", "--validation", "1"]
            sys.stderr = io.StringIO()
            return f"{program.main()} {sys.stderr.getvalue()}"

        place = f"{kept}/train_0000.jpg"
        said = f"1 {place} cannot be replaced (Permission denied): remove it, or name another folder\n"
        assert said_as_another_user(run) == said
        assert (Path(folder) / "input/drawn_by_draw_sample").exists()
