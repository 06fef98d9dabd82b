"""The two files of a checkpoint: their contents, and what is left of them when the disk is full."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import numpy as np
from written_checkpoints import arrays, manifest, names, write

from sagemaker_ssd.checkpoints.format import read_manifest, read_parameters


def test_mxnets_own_reader_reads_the_arrays(tmp_path: Path):
    write(tmp_path, 7)
    found = mx.nd.load(str(tmp_path / "sagemaker-ssd-0007.params"))
    assert {name: array.shape for name, array in found.items()} == {
        "arg:conv_weight": (20, 30),
        "arg:conv_bias": (2,),
        "aux:bn_moving_mean": (7,),
        "optimizer:momentum:conv_weight": (20, 30),
    }
    assert found["arg:conv_bias"].asnumpy().tolist() == [1.5, -2.25]


def test_the_arrays_come_back_by_kind_and_name(tmp_path: Path):
    write(tmp_path, 7)
    found, expected = read_parameters(tmp_path / "sagemaker-ssd-0007.params"), arrays(7)
    for kind in ("arguments", "states", "optimizer"):
        of_kind, wanted = getattr(found, kind), getattr(expected, kind)
        assert of_kind.keys() == wanted.keys()
        for name, array in wanted.items():
            np.testing.assert_array_equal(of_kind[name].asnumpy(), array.asnumpy())


def test_the_manifest_names_the_files_with_size_and_digest(tmp_path: Path):
    write(tmp_path, 3)
    write(tmp_path, 12, best=3)
    content = json.loads((tmp_path / "sagemaker-ssd-0012.json").read_text())
    assert (content["format"], content["epoch"], content["best_epoch"]) == (1, 12, 3)
    assert content["parameters"] == "sagemaker-ssd-0012.params"
    assert content["best_parameters"] == "sagemaker-ssd-0003.params"
    for name, facts in content["files"].items():
        stored = (tmp_path / name).read_bytes()
        assert facts == {"size": len(stored), "sha256": hashlib.sha256(stored).hexdigest()}
    assert set(content["files"]) == {"sagemaker-ssd-0012.params", "sagemaker-ssd-0003.params"}


def test_every_number_of_a_manifest_comes_back_exactly(tmp_path: Path):
    written = write(tmp_path, 9)
    found = read_manifest(tmp_path / "sagemaker-ssd-0009.json")
    assert found == written
    # 0.1 * 3 is not 0.3 in binary.
    assert found.scores[3] == 0.30000000000000004
    assert found.lowest_loss == 1 / 3


def test_nothing_but_the_two_files_is_left(tmp_path: Path):
    write(tmp_path, 10_000)
    assert names(tmp_path) == {"sagemaker-ssd-10000.params", "sagemaker-ssd-10000.json"}


# A limit on the size of files stands for the full disk: it needs no rights, and fails at the same call. The arrays
# are 4836 bytes and their file has 5120; MXNet itself does not see the failure where only its last write fails.
LIMITS = {"arrays": (0, 2000, 4800, 4900, 5119), "manifest": (0, 300)}
FULL = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from written_checkpoints import arrays, manifest
from sagemaker_ssd.checkpoints.format import write_manifest, write_parameters
from sagemaker_ssd.errors import UserError
folder, said = Path(sys.argv[1]), []
waiting = manifest(folder, 4, 4)
work = {"arrays": lambda: write_parameters(folder, 5, arrays(5)), "manifest": lambda: write_manifest(folder, waiting)}
for what, limits in json.loads(sys.argv[3]).items():
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            work[what]()
        except UserError as error:
            said.append(error.sentence)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(json.dumps(said))
"""


# A limit on the size of files stands for the full disk.
LIMIT = "a quota, or the limit on a file's size (ulimit -f), is reached"


def test_a_full_disk_is_explained_and_leaves_what_was_there(tmp_path: Path):
    write(tmp_path, 3)
    write(tmp_path, 4)
    assert (tmp_path / "sagemaker-ssd-0004.params").stat().st_size == 5120
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    arguments = (str(tmp_path), str(Path(__file__).parent), json.dumps(LIMITS))
    done = subprocess.run([sys.executable, "-c", FULL, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    length = len(before["sagemaker-ssd-0004.json"])
    assert len(said) == 7
    assert all(text.startswith(f"{LIMIT}: the checkpoint in {tmp_path} needs 4,836 bytes") for text in said[:5])
    manifests = f"{LIMIT}: the checkpoint's manifest in {tmp_path} needs {length:,} bytes, and "
    assert all(text.startswith(manifests) for text in said[5:])
    assert all("VolumeSizeInGB" in text for text in said)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_manifest_is_replaced_as_a_whole(tmp_path: Path):
    write(tmp_path, 2)
    inode = (tmp_path / "sagemaker-ssd-0002.json").stat().st_ino
    write(tmp_path, 2)
    # Another file under the same name: whoever reads the old one still reads all of it.
    assert (tmp_path / "sagemaker-ssd-0002.json").stat().st_ino != inode
    assert read_manifest(tmp_path / "sagemaker-ssd-0002.json") == manifest(tmp_path, 2, 2)
