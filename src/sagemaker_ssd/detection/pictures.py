"""Images of a checked channel for a person to look at."""

import mxnet as mx
from PIL import Image

from sagemaker_ssd.data import RecordFile
from sagemaker_ssd.detection.truth import image_of


def read_picture(file: RecordFile, number: int) -> Image.Image:
    """Return an image of the channel as the network was shown it, before it was resized."""
    # As it stands in the channel: the check has settled how it is to be turned.
    return Image.fromarray(mx.image.imdecode(image_of(file, number), flag=1, to_rgb=True).asnumpy())
