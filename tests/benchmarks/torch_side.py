"""PyTorch's side of the benchmarks: a training step, or detection, on the same layers; see serving.py.

Channels last, MXNet's number of threads, losses and targets as SSD has them: each object's best anchor and all that
overlap it by half are positive, three of the hardest others for each are negative.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch_network import Detector

from serving import serve


def overlaps(boxes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    """Return the IoU of (B, G, 4) boxes and (A, 4) anchors: (B, G, A)."""
    boxes, anchors = boxes[:, :, None], anchors[None, None]
    sides = (torch.minimum(boxes[..., 2:], anchors[..., 2:]) - torch.maximum(boxes[..., :2], anchors[..., :2])).clamp(
        min=0
    )
    common = sides.prod(-1)
    areas = (boxes[..., 2:] - boxes[..., :2]).prod(-1) + (anchors[..., 2:] - anchors[..., :2]).prod(-1)
    return common / (areas - common)


def targets(labels: torch.Tensor, anchors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return classes (B, A), 0 is background, and encoded locations (B, A, 4)."""
    overlap = overlaps(labels[..., 1:], anchors)
    best, owner = overlap.max(1)
    forced = overlap.argmax(2)
    for number in range(labels.shape[1]):
        owner.scatter_(1, forced[:, number : number + 1], number)
        best.scatter_(1, forced[:, number : number + 1], 1.0)
    chosen = torch.gather(labels, 1, owner[..., None].expand(-1, -1, 5))
    classes = torch.where(best >= 0.5, chosen[..., 0].long() + 1, 0)
    sizes, centres = anchors[:, 2:] - anchors[:, :2], (anchors[:, 2:] + anchors[:, :2]) / 2
    box = chosen[..., 1:]
    shift = ((box[..., :2] + box[..., 2:]) / 2 - centres) / sizes / 0.1
    stretch = torch.log((box[..., 2:] - box[..., :2]) / sizes) / 0.2
    return classes, torch.cat([shift, stretch], -1)


def loss_of(locations: torch.Tensor, classes: torch.Tensor, wanted: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Return the sum of cross entropy with hard negatives and smooth L1, over the positive anchors."""
    entropy = F.cross_entropy(classes.transpose(1, 2), wanted, reduction="none")
    positive = wanted > 0
    hardness = entropy.detach().masked_fill(positive, -1)
    rank = hardness.argsort(1, descending=True).argsort(1)
    counted = positive | (rank < 3 * positive.sum(1, keepdim=True))
    smooth = F.smooth_l1_loss(locations[positive], boxes[positive], reduction="sum")
    return (entropy * counted).sum() / counted.sum() + smooth / positive.sum().clamp(min=1)


def main() -> None:
    """Serve training steps or detections."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("spec", type=Path, help="JSON: network, size, classes, batch, heads; anchors.npy beside it")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--detect", action="store_true")
    parser.add_argument("--compile", action="store_true", help="by torch.compile, which needs a C++ compiler")
    options = parser.parse_args()
    spec = json.loads(options.spec.read_text())
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    net = Detector(spec["network"], spec["heads"], spec["classes"]).to(memory_format=torch.channels_last)
    anchors = torch.from_numpy(np.load(options.spec.with_name("anchors.npy")))
    data = torch.randn(spec["batch"], 3, spec["size"], spec["size"]) * 50
    data = data.to(memory_format=torch.channels_last)
    labels = torch.tensor(spec["label"])[None].expand(spec["batch"], -1, -1).contiguous()
    cast = torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16)
    optimizer = torch.optim.SGD(
        [value for value in net.parameters() if value.requires_grad],
        lr=1e-6,
        momentum=0.9,
        weight_decay=5e-4,
        fused=True,
    )

    run = torch.compile(net) if options.compile else net

    def step() -> None:
        with cast:
            locations, classes = run(data)
        wanted, boxes = targets(labels, anchors)
        loss = loss_of(locations.float(), classes.float(), wanted, boxes)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()

    def detect() -> None:
        with torch.inference_mode(), cast:
            locations, classes = net(data)
            classes.float().softmax(-1).max(-1)
            locations.float().sum().item()

    if options.detect:
        net.eval()
    count = sum(value.numel() for value in net.parameters())
    with torch.no_grad():
        assert net(data)[0].shape[1] == len(anchors), "another number of anchors"
    serve(detect if options.detect else step, {"parameters": count}, warm=2)


if __name__ == "__main__":
    main()
