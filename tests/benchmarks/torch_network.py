"""The same layers in PyTorch; runs in an environment of its own, without MXNet."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

UNITS, FILTERS = (3, 4, 6, 3), (256, 512, 1024, 2048)
VGG = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class Vgg(nn.Module):
    """VGG-16 with fc6 and fc7 as convolutions."""

    channels = (512, 1024)

    def __init__(self) -> None:
        super().__init__()
        before, layers = 3, []
        for group, filters in enumerate(VGG, start=1):
            for width in filters:
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
                before = width
            if group == 4:
                self.first, layers = nn.Sequential(*layers), []
            pool = nn.MaxPool2d(3, 1, 1) if group == 5 else nn.MaxPool2d(2, 2, ceil_mode=group == 3)
            layers.append(pool)
        layers += [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True)]
        self.second = nn.Sequential(*layers)

    def forward(self, data: torch.Tensor) -> list[torch.Tensor]:
        feature = self.first(data)
        return [feature, self.second(feature)]


class Unit(nn.Module):
    """A pre-activation unit."""

    def __init__(self, before: int, filters: int, stride: int, *, first: bool) -> None:
        super().__init__()
        quarter = filters // 4
        self.bn1, self.conv1 = nn.BatchNorm2d(before), nn.Conv2d(before, quarter, 1, bias=False)
        self.bn2, self.conv2 = nn.BatchNorm2d(quarter), nn.Conv2d(quarter, quarter, 3, stride, 1, bias=False)
        self.bn3, self.conv3 = nn.BatchNorm2d(quarter), nn.Conv2d(quarter, filters, 1, bias=False)
        self.shortcut = nn.Conv2d(before, filters, 1, stride, bias=False) if first else None

    def forward(self, data: torch.Tensor) -> torch.Tensor:
        active = F.relu(self.bn1(data), inplace=True)
        body = self.conv1(active)
        body = self.conv2(F.relu(self.bn2(body), inplace=True))
        body = self.conv3(F.relu(self.bn3(body), inplace=True))
        return body + (data if self.shortcut is None else self.shortcut(active))


class ResNet(nn.Module):
    """ResNet-50 with pre-activation, without a last BatchNorm."""

    channels = (1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        self.bn_data, self.conv0, self.bn0 = (
            nn.BatchNorm2d(3),
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
        )
        self.bn_data.weight.requires_grad_(False)
        before, stages = 64, []
        for stage, (units, filters) in enumerate(zip(UNITS, FILTERS, strict=True)):
            for number in range(units):
                stride = 2 if number == 0 and stage > 0 else 1
                stages.append(Unit(before, filters, stride, first=number == 0))
                before = filters
        self.first, self.second = nn.Sequential(*stages[:13]), nn.Sequential(*stages[13:])

    def forward(self, data: torch.Tensor) -> list[torch.Tensor]:
        body = F.relu(self.bn0(self.conv0(self.bn_data(data))), inplace=True)
        feature = self.first(F.max_pool2d(body, 3, 2, 1))
        return [feature, self.second(feature)]


class Detector(nn.Module):
    """Trunk, extra layers and heads, as `heads` lists them: extra (filters, stride, pad), anchors, scale."""

    def __init__(self, base_network: str, heads: list[dict[str, Any]], num_classes: int) -> None:
        super().__init__()
        self.trunk = ResNet() if base_network == "resnet-50" else Vgg()
        self.outputs = num_classes + 1
        extras, locations, classes = [], [], []
        before, channels = self.trunk.channels[-1], iter(self.trunk.channels)
        for head in heads:
            if head["extra"]:
                filters, stride, pad = head["extra"]
                reduced = max(128, filters // 2)
                extras.append(
                    nn.Sequential(
                        nn.Conv2d(before, reduced, 1),
                        nn.ReLU(inplace=True),
                        nn.Conv2d(reduced, filters, 3, stride, pad),
                        nn.ReLU(inplace=True),
                    )
                )
                before = filters
            width = before if head["extra"] else next(channels)
            locations.append(nn.Conv2d(width, 4 * head["anchors"], 3, padding=1))
            classes.append(nn.Conv2d(width, self.outputs * head["anchors"], 3, padding=1))
        self.extras, self.locations, self.classes = map(nn.ModuleList, (extras, locations, classes))
        scale = heads[0]["scale"]
        self.scale = nn.Parameter(torch.full((1, 512, 1, 1), float(scale))) if scale else None

    def forward(self, data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return locations (B, A, 4) and classes (B, A, num_classes + 1)."""
        maps = self.trunk(data)
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        if self.scale is not None:
            maps[0] = F.normalize(maps[0], dim=1) * self.scale
        images = len(data)
        locations = [
            layer(f).permute(0, 2, 3, 1).reshape(images, -1, 4) for layer, f in zip(self.locations, maps, strict=True)
        ]
        classes = [
            layer(f).permute(0, 2, 3, 1).reshape(images, -1, self.outputs)
            for layer, f in zip(self.classes, maps, strict=True)
        ]
        return torch.cat(locations, 1), torch.cat(classes, 1)
