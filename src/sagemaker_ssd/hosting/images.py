"""An image as it comes in a request's body: bounded, decoded and prepared just as `predict` does it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sagemaker_ssd.channels.images import is_beyond_decoder, read_header
from sagemaker_ssd.contract.hosting import MAX_PIXELS
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.scoring.saved_model import decoded, network_input
from sagemaker_ssd.ssd.network import Network

_BODY: Final = "the request's body"


class RefusedImageError(Exception):
    """An image that is not detected on, with the HTTP status and the sentence for who sent it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network takes it, (3, S, S), and its size in pixels as a viewer shows it.

    warnings: what is odd about it.
    """

    input: NDArray[np.float32]
    width: int
    height: int
    warnings: Sequence[str]


def prepare(body: bytes, network: Network) -> PreparedImage:
    """Decode and resize a request's body; raises RefusedImageError."""
    size = _stored_size(body)
    if size is not None and size[0] * size[1] > MAX_PIXELS:
        raise _too_large(f"{size[0]}x{size[1]} px, more than")
    warnings: list[str] = []
    try:
        pixels = decoded(body, _BODY, whole=True, warn=warnings.append)
    except UserError as error:
        if size is None and is_beyond_decoder(body):
            raise _too_large("more than") from None
        raise RefusedImageError(400, error.sentence) from None
    height, width = pixels.shape[:2]
    return PreparedImage(network_input(pixels, network.image_shape, network.mean), width, height, warnings)


def _too_large(how_large: str) -> RefusedImageError:
    return RefusedImageError(413, f"{_BODY}: {how_large} {MAX_PIXELS // 1_000_000} megapixels; send a smaller image")


def _stored_size(image: bytes) -> tuple[int, int] | None:
    """Read width and height without decoding; None where there is no header that tells."""
    header = read_header(image)
    if header is not None:
        return header.width, header.height
    try:
        with Image.open(io.BytesIO(image)) as opened:
            return opened.size
    # Whatever the many readers of PIL raise on damaged files, and on others than images: the decoder has the sentence.
    except Exception:
        return None
