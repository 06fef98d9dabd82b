"""torchvision's SSD preset as a side of input_pipeline.py; runs in an environment with torchvision and nothing of ours.

The preset is references/detection/presets.py `DetectionPresetTrain(data_augmentation="ssd", backend="tv_tensor",
use_v2=True)`; the resizing to 300 x 300, which torchvision's SSD does inside the model, belongs to the input here.
"""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms import v2

from serving import serve

BOXES = torch.tensor([[64.0, 96.0, 320.0, 288.0], [256.0, 144.0, 576.0, 384.0]])
PRESET = v2.Compose(
    [
        v2.RandomPhotometricDistort(),
        v2.RandomZoomOut(fill={tv_tensors.Image: (123, 117, 104), "others": 0}),
        v2.RandomIoUCrop(),
        v2.RandomHorizontalFlip(p=0.5),
        v2.ToDtype(torch.float, scale=True),
        v2.SanitizeBoundingBoxes(),
        v2.Resize((300, 300), antialias=True),
    ]
)


class Images(Dataset):
    """Decoded and augmented images."""

    def __init__(self, folder: Path) -> None:
        self._contents = [read_file(str(path)) for path in sorted(folder.iterdir())]

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, number: int) -> object:
        image = tv_tensors.Image(decode_image(self._contents[number], mode=ImageReadMode.RGB))
        boxes = tv_tensors.BoundingBoxes(BOXES, format="XYXY", canvas_size=image.shape[-2:])
        return PRESET(image, {"boxes": boxes, "labels": torch.tensor([0, 1])})


def main() -> None:
    """Serve epochs."""
    torch.set_num_threads(1)
    loader = DataLoader(Images(Path(sys.argv[1])), 8, num_workers=1, collate_fn=lambda views: views)

    def epoch() -> None:
        for views in loader:
            torch.stack([image for image, _ in views])

    serve(epoch)


if __name__ == "__main__":
    main()
