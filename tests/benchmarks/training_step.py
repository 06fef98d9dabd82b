"""One training step beside those of others: mx.mod.Module on the saved graph, GluonCV's SSD, PyTorch's same layers.

`python tests/benchmarks/training_step.py [--case vgg-16:300:8 ...] [--rounds 5] [--compiled]`: a case is
network:size:batch. PyTorch needs .venv-torch, which `make bench` makes. All train all weights, with as many threads, on
the same batch.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from turns import HERE, TORCH, Side, table, take_turns

CASES = ("vgg-16:300:8", "resnet-50:300:8", "vgg-16:512:2", "resnet-50:512:4")
CLASSES = 3
# Steps of a turn where they follow one another.
LOOP = 4
LABEL = [[0.0, 0.1, 0.2, 0.5, 0.6], [1.0, 0.4, 0.3, 0.9, 0.8]]


def write_spec(folder: Path, case: str) -> dict[str, Any]:
    """Write what all sides are to build, for programs that have neither MXNet nor this project."""
    import mxnet as mx

    from sagemaker_ssd.ssd.graphs import training_graph
    from sagemaker_ssd.ssd.heads import head_layout
    from sagemaker_ssd.ssd.network import Network

    network, size, batch = case.split(":")
    spec = {
        "network": network,
        "size": int(size),
        "batch": int(batch),
        "classes": CLASSES,
        "label": LABEL,
        "heads": [
            {
                "anchors": head.anchors_per_location,
                "extra": [head.extra.filters, head.extra.stride, head.extra.pad] if head.extra else None,
                "scale": head.scale,
            }
            for head in head_layout(network, int(size))
        ],
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    graph = training_graph(Network(network, int(size), CLASSES), empty_images=False)
    anchors = graph.get_internals()["multibox_anchors_output"]
    executor = anchors.simple_bind(mx.cpu(), grad_req="null", data=(1, 3, int(size), int(size)))
    np.save(folder / "anchors.npy", executor.forward()[0].asnumpy()[0])
    return spec


def mxnet_side(name: str, spec: Path) -> Side:
    """Return one of mxnet_sides.py."""
    others = ("module", "gluoncv")
    return Side(name, [sys.executable, HERE / "mxnet_sides.py", name, spec], worker=name not in others)


def torch_side(name: str, spec: Path, *options: str) -> Side:
    """Return PyTorch's side with some of its options."""
    return Side(name, [TORCH, HERE / "torch_side.py", spec, *options])


def compare(case: str, rounds: int, *, compiled: bool) -> None:
    """Print the table of one case."""
    from sagemaker_ssd.ssd.number_formats import can_compute_bfloat16

    with tempfile.TemporaryDirectory() as folder:
        spec = write_spec(Path(folder), case)
        path = Path(folder) / "spec.json"
        # Without AVX512 MXNet has no kernels for it, and PyTorch's take three times as long as those of float32.
        bfloat16 = can_compute_bfloat16()
        sides = [mxnet_side("ours", path)]
        sides += [mxnet_side("ours-bfloat16", path)] if bfloat16 else []
        sides.append(mxnet_side("module", path))
        sides += [mxnet_side("gluoncv", path)] if (spec["network"], spec["size"]) == ("vgg-16", 300) else []
        formats = [[], ["--bfloat16"]] if bfloat16 else [[]]
        for options in [*formats, *(["--compile", *options] for options in formats if compiled)]:
            sides.append(torch_side("-".join(["pytorch", *(option.strip("-") for option in options)]), path, *options))
        take_turns(sides, rounds)
    counts = {side.name: side.facts["parameters"] for side in sides if side.facts}
    assert len(set(counts.values())) == 1, f"not the same layers: {counts}"
    title = f"Training step, {spec['network']} at {spec['size']} px, batch {spec['batch']}, {counts['ours']:,} weights"
    table(title, sides, spec["batch"], "images")


def reading_losses(rounds: int) -> None:
    """Show whether the device waits for the losses to be read."""
    with tempfile.TemporaryDirectory() as folder:
        spec = write_spec(Path(folder), "resnet-50:300:8")
        sides = [mxnet_side(name, Path(folder) / "spec.json") for name in ("reading losses", "leaving losses unread")]
        take_turns(sides, rounds)
    table("Steps in a row, resnet-50 at 300 px", sides, LOOP * spec["batch"], "images")


def main() -> None:
    """Compare all cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help=f"default: {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compiled", action="store_true", help="PyTorch by torch.compile too, which needs g++")
    options = parser.parse_args()
    for case in options.case or CASES:
        compare(case, options.rounds, compiled=options.compiled)
    if options.case is None:
        reading_losses(options.rounds)


if __name__ == "__main__":
    main()
