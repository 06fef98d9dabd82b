"""The font that names of classes are drawn with in pictures."""

from pathlib import Path

from PIL import ImageFont


def dejavu_sans(size: int) -> ImageFont.FreeTypeFont:
    """Return matplotlib's font, DejaVu Sans, which has the letters of most languages; size: in pixels."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
