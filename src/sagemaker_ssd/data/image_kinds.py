"""What a file that cannot be decoded is instead, for the person who has to replace it."""

_PAGES = (b"<!doctype html", b"<html")
_BEGINNINGS = (
    (b"GIF8", "a GIF: save it as JPEG or PNG"),
    (b"%PDF", "a PDF: save it as JPEG or PNG"),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the image itself with git lfs pull"),
    (b"\xff\xd8\xff", "damaged, or a JPEG of a rare kind: save it anew as an ordinary JPEG"),
)
# Of ISO 14496-12's file type box: the brands of HEIF and AV1 images.
_BRANDS = {b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"msf1": "HEIC", b"avif": "AVIF", b"avis": "AVIF"}


def undecodable(image: bytes) -> str:
    """Say what a file is that no decoder takes, and what to do about it."""
    if image[:64].lstrip().lower().startswith(_PAGES):
        return "an HTML page: download the image again"
    for beginning, text in _BEGINNINGS:
        if image.startswith(beginning):
            return text
    if image[4:8] == b"ftyp" and image[8:12] in _BRANDS:
        return f"{_BRANDS[image[8:12]]}: save it as JPEG or PNG"
    return "damaged or not an image"
