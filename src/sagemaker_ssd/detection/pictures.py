"""Images of a checked channel for a person to look at."""

from PIL import Image

from sagemaker_ssd.data import RecordFile
from sagemaker_ssd.detection.pixels import decoded
from sagemaker_ssd.detection.truth import image_of


def read_picture(file: RecordFile, number: int) -> Image.Image:
    """Return an image of the channel as the network was shown it, before it was resized; raises UserError."""
    return Image.fromarray(decoded(image_of(file, number), f"image {number}").asnumpy())
