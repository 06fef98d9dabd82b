"""What a record of a stream holds, told by its first bytes."""

from typing import Final, Literal

from sagemaker_ssd.data.recordio import MAGIC

Kind = Literal["image", "JSON", "RecordIO", "other"]
# Of what OpenCV decodes: JPEG, PNG, GIF, BMP, TIFF in both orders of bytes, JPEG 2000.
_IMAGES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"\0\0\0\x0cjP  ")
BEGINNING: Final = 12


def kind_of(payload: bytes) -> Kind:
    """Tell an image file, a JSON object and a whole RecordIO file; an image record is something other."""
    if payload.startswith(MAGIC):
        return "RecordIO"
    if payload.startswith(_IMAGES) or (payload[:4] == b"RIFF" and payload[8:12] == b"WEBP"):
        return "image"
    # An image record begins with the number of its labels, whose last byte is 0 in any that fits into memory.
    if 0 not in payload[:4] and payload[:64].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return "JSON"
    return "other"
