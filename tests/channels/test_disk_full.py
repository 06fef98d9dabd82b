"""A disk without room: the error says what was written and what to raise, and nothing half-written stays."""

import json
import subprocess
import sys
from pathlib import Path

from drawn_channels import BOX, encoded, json_box, noise, snapshot, write_annotation, write_image, write_rec

# A limit on the size of files stands for the full disk: it needs no rights, and fails at the same call.
PROGRAM = """
import json, resource, sys
from pathlib import Path
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.channels.image_files import pack_images
from sagemaker_ssd.errors import UserError
root = Path(sys.argv[1])
common = CheckOptions(name="train", num_classes=2, scratch=root / "scratch", max_bad_images=0, label_width=350)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
said = []
for work in (
    lambda: check_recordio(root / "late.rec", common),
    lambda: check_recordio(root / "early.rec", common),
    lambda: pack_images(root / "train", root / "train_annotation", common),
):
    try:
        work()
    except UserError as error:
        said.append([error.sentence, [str(path) for path in (root / "scratch").iterdir()]])
print(json.dumps(said))
"""


def test_a_full_disk_is_explained(tmp_path: Path) -> None:
    images = [encoded(noise(number)) for number in range(30)]  # 9.7 kB each
    clipped = [2, 5, 1, -0.01, 0, 1, 1]
    write_rec(tmp_path / "late.rec", [*((BOX, image) for image in images), (clipped, images[0])])
    write_rec(tmp_path / "early.rec", [(clipped, images[0]), *((BOX, image) for image in images)])
    for number, image in enumerate(images):
        write_image(tmp_path / "train" / f"{number}.png", image)
        write_annotation(tmp_path / "train_annotation" / f"{number}.json", [json_box(1, 2, 2, 9, 9)])
    before = snapshot(tmp_path / "train")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert len(said) == 3
    for (sentence, left), what in zip(
        said,
        [
            "a corrected copy of late.rec",
            "a corrected copy of early.rec",
            "train's images in one file",
        ],
        strict=True,
    ):
        assert sentence.startswith(f"The disk is full: {what} in {tmp_path / 'scratch'}")
        assert " needs about 0.3 MB, and " in sentence
        assert "VolumeSizeInGB" in sentence
        assert left == []
    assert snapshot(tmp_path / "train") == before
