"""Peak memory and scratch space of whole jobs over images of very different sizes, stopped after their first steps.

`python tests/benchmarks/job_memory.py [--small 10000] [--photos 500] [--batches 20]` draws JPEGs of 2.4 kB, photos of
12 megapixels, and a sample of 1,000 images of 640x480 pixels, runs ./train with resnet-50 on each, and sends it SIGTERM
once it logs that so many batches are done. The sample comes in every input mode, and its memory is compared with that
of mx.mod.Module, which trains as many batches with MXNet's reader and does nothing else.
"""

import argparse
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from epoch_speed import draw as draw_sample
from epoch_speed import measure
from reader_scale import draw as draw_kind

ROOT = Path(__file__).parent.parent.parent
SECONDS_BETWEEN_LOOKS = 0.1
MODULE_BATCH = 8


@dataclass(frozen=True)
class Case:
    """A .rec, how it comes to the job, and the job's sizes."""

    name: str
    record: Path
    image_shape: int = 300
    batch: int = 2
    mode: str = "File"


def write_job(job: Path, case: Case) -> None:
    """Write the configuration of a job on `case`, and its channels."""
    config, data = job / "input" / "config", job / "input" / "data"
    config.mkdir(parents=True)
    data.mkdir()
    chosen = {
        "base_network": "resnet-50",
        "use_pretrained_model": 0,
        "num_classes": 3,
        "num_training_samples": 1,
        "mini_batch_size": case.batch,
        "image_shape": case.image_shape,
        "epochs": 1,
    }
    (config / "hyperparameters.json").write_text(json.dumps({name: str(value) for name, value in chosen.items()}))
    channel = {
        "ContentType": "application/x-recordio",
        "TrainingInputMode": case.mode,
        "S3DistributionType": "FullyReplicated",
        "RecordWrapperType": "None",
    }
    (config / "inputdataconfig.json").write_text(json.dumps(dict.fromkeys(("train", "validation"), channel)))
    for name in ("train", "validation"):
        if case.mode == "Pipe":
            os.mkfifo(data / f"{name}_0")
        else:
            (data / name).mkdir()
            (data / name / f"{name}.rec").symlink_to(case.record)


def feed(job: Path, case: Case) -> list[subprocess.Popen[bytes]]:
    """Write the record file into the FIFOs of a job in Pipe mode."""
    if case.mode != "Pipe":
        return []
    names = ("train", "validation")
    command = 'exec cat "$0" > "$1"'
    return [
        subprocess.Popen(["sh", "-c", command, case.record, job / "input" / "data" / f"{name}_0"]) for name in names
    ]


def watch_scratch(folder: Path, ended: threading.Event, most: list[int]) -> None:
    """Keep the largest sum of a folder's files in `most`."""
    while not ended.wait(SECONDS_BETWEEN_LOOKS):
        found = 0
        for path in folder.rglob("*"):
            try:
                found += path.lstat().st_size if not path.is_dir() else 0
            except FileNotFoundError:
                continue
        most[0] = max(most[0], found)


def run(case: Case, batches: int, folder: Path) -> tuple[float, float]:
    """Run a job until so many batches are done; return MB of memory of its largest process, and of scratch space."""
    job, scratch = folder / "job", folder / "scratch"
    scratch.mkdir(parents=True)
    write_job(job, case)
    process = subprocess.Popen(
        [ROOT / "train"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(job), "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    feeders, ended, most = feed(job, case), threading.Event(), [0]
    watcher = threading.Thread(target=watch_scratch, args=(scratch, ended, most))
    watcher.start()
    lines = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.append(line)
            done = re.search(r"Epoch 0: (\d+) of \d+ batches", line)
            if done is not None and int(done[1]) >= batches:
                process.send_signal(signal.SIGTERM)
                break
        lines += list(process.stdout)
        # The supervisor's, and that of every process which it has waited for.
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        ended.set()
        watcher.join()
        for each in (process, *feeders):
            if each.poll() is None:
                each.kill()
                each.wait()
    # A job that is stopped before its first model says so with 2.
    if os.waitstatus_to_exitcode(status) != 2 or not any("Asked to stop" in line for line in lines):
        reason = "the job was not stopped in its first epoch: see above, or give it more images"
        raise SystemExit("".join([*lines, reason]))
    return usage.ru_maxrss / 1024, most[0] / 1e6


def main() -> None:
    """Run all jobs, and print their table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--sample", type=int, default=1000, help="must take longer than a minute")
    parser.add_argument("--batches", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small, photos, sample = (Path(folder) / f"{name}.rec" for name in ("small", "photos", "sample"))
        draw_kind(small, "small", options.small)
        draw_kind(photos, "large", options.photos)
        draw_sample(sample, options.sample)
        cases = [
            Case("small", small),
            Case("small", small, image_shape=512),
            Case("photos", photos),
            *(Case("sample", sample, mode=mode) for mode in ("FastFile", "Pipe")),
            # With the batches of the other side.
            Case("sample", sample, batch=MODULE_BATCH),
        ]
        print("| images | MB of the .rec | input mode | image_shape, batch | peak, MB | scratch space, MB |")
        print("|---|---|---|---|---|---|")
        for number, case in enumerate(cases):
            memory, scratch = run(case, options.batches, Path(folder) / str(number))
            size = case.record.stat().st_size / 1e6
            print(
                f"| {case.name} | {size:,.0f} | {case.mode} | {case.image_shape}, {case.batch} "
                f"| {memory:,.0f} | {scratch:,.1f} |",
                flush=True,
            )
        short = Path(folder) / "short.rec"
        draw_sample(short, options.batches * MODULE_BATCH)
        _, plain = measure("module", short, "resnet-50", MODULE_BATCH, options.batches * MODULE_BATCH)
        print(f"mx.mod.Module on the sample's images: {plain:,.0f} MB; the last job is {memory / plain:.2f} x")


if __name__ == "__main__":
    main()
