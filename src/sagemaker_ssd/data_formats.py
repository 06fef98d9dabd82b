"""Which files and folders a channel looks at, by their names, and the way there from other formats."""

from typing import Final

from sagemaker_ssd.errors import listed

# Of the files of a channel of images; what they hold can be something else.
IMAGE_ENDINGS: Final = (".jpg", ".jpeg", ".png")
# Of image files that no channel looks at, and first of those that no decoder takes either.
_UNDECODABLE_ENDINGS: Final = (".avif", ".gif", ".heic", ".heif")
OTHER_IMAGE_ENDINGS: Final = (*_UNDECODABLE_ENDINGS, ".bmp", ".jfif", ".jp2", ".jpe", ".tif", ".tiff", ".webp")
# Of an image: twice the largest camera's. A damaged header can claim more, and decoders take memory for what it claims.
MAX_PIXELS: Final = 250_000_000
# OpenCV's own limit, which it reads when it is imported: of TIFF, BMP and others no header is read here.
OPENCV_PIXELS_VARIABLE: Final = "OPENCV_IO_MAX_IMAGE_PIXELS"
LOOKED_AT: Final = f"only {listed(list(IMAGE_ENDINGS), 'and')} are looked at"
CONVERT: Final = "python -m sagemaker_ssd.convert"
VOC_REMEDY: Final = f"if it is Pascal VOC's, turn it into channels with {CONVERT} voc"
# Folders that systems make for themselves: Synology's thumbnails, what macOS puts into archives, what ext4 and Windows
# have at the top of a disk, which often nobody else may read.
_OF_SYSTEMS: Final = frozenset({"@eaDir", "__MACOSX", "lost+found", "System Volume Information", "$RECYCLE.BIN"})


def is_hidden_file(name: str) -> bool:
    """Whether a file of that name is no data, such as the `._name` that macOS leaves for every file it copies."""
    return name.startswith(".")


def is_hidden_folder(name: str) -> bool:
    """Whether nothing in a folder of that name is data: one that is hidden, or that a system keeps for itself."""
    return name.startswith(".") or name in _OF_SYSTEMS


def is_hidden(path: str) -> bool:
    """Whether a path, with `/`, below its folder or in an archive is no data, by its name or that of a folder in it."""
    *folders, name = path.split("/")
    return is_hidden_file(name) or any(is_hidden_folder(folder) for folder in folders if folder not in (".", ".."))


def ending_remedy(file: str) -> str:
    """Say what to do about an image whose name, or all that is known of it, ends on one of OTHER_IMAGE_ENDINGS."""
    if file.lower().endswith(_UNDECODABLE_ENDINGS):
        return "save it as JPEG or PNG"
    return "rename it to .jpg, since what it holds is read, or save it as JPEG or PNG"
