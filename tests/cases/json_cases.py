"""Odd JSON annotations of a good image."""

import gzip
import json
from pathlib import Path
from typing import Any

from image_cases import channel_of
from odd_channel import CHANGED, LEFT_OUT, STOPS, USED, Case, Channel, Given
from odd_pictures import HEIGHT, LABEL, OBJECT, WIDTH, saved, viewed

IMAGE = saved("JPEG")
EMPTY = [2, 5]
SIZE = [{"width": WIDTH, "height": HEIGHT, "depth": 3}]
WHERE = "train_annotation/odd.json: "


def box(left: Any, top: Any, width: Any, height: Any, class_id: Any = 1) -> dict[str, Any]:
    """Write a box as the format has it."""
    return {"class_id": class_id, "left": left, "top": top, "width": width, "height": height}


def label(*boxes: tuple[float, ...]) -> list[float]:
    """Give the label of boxes (class_id, left, top, width, height) in pixels, without any correction."""
    floats = [2.0, 5.0]
    for class_id, left, top, width, height in boxes:
        floats += [class_id, left / WIDTH, top / HEIGHT, (left + width) / WIDTH, (top + height) / HEIGHT]
    return floats


def text_case(name: str, outcome: str, says: str, text: str | bytes, given: list[float] | None = None) -> Case:
    """An annotation as it stands in its file, beside a good one."""

    def make(folder: Path) -> Channel:
        kept = Given(LABEL if given is None else given, IMAGE, viewed(IMAGE))
        return channel_of(folder, {"odd.jpg": IMAGE}, {"odd.json": text}, [kept])

    return Case("JSON", name, outcome, says, make)


def boxes_case(name: str, outcome: str, says: str, *boxes: dict[str, Any], given: list[float] | None = None) -> Case:
    """An annotation with these boxes."""
    text = json.dumps({"file": "odd.jpg", "image_size": SIZE, "annotations": list(boxes)})
    if given is None and outcome in (USED, CHANGED):
        given = label(*(tuple(float(value) for value in one.values()) for one in boxes))
    return text_case(name, outcome, says, text, given)


def content_case(name: str, outcome: str, says: str, **content: Any) -> Case:
    """An annotation with the usual box, and keys replaced (None: left out)."""
    whole = {"file": "odd.jpg", "image_size": SIZE, "annotations": [box(*OBJECT)], **content}
    return text_case(name, outcome, says, json.dumps({key: value for key, value in whole.items() if value is not None}))


PLAIN = json.dumps({"file": "odd.jpg", "image_size": SIZE, "annotations": [box(*OBJECT)]})
CLIPPED = "box past the image's border by up to 2 px, clipped"
FLAT = "box without area or inverted, dropped"
MANY = [box(number % 40, number % 30, 20, 20, number % 3) for number in range(500)]
COCO = {
    "images": [{"id": 1, "file_name": "odd.jpg", "width": WIDTH, "height": HEIGHT}],
    "annotations": [{"image_id": 1, "category_id": 1, "bbox": list(OBJECT)}],
}
MANIFEST = {"source-ref": "s3://bucket/odd.jpg", "boxes": {"annotations": [box(*OBJECT)], "image_size": SIZE}}
LABELME = {"shapes": [{"label": "dog", "points": [[1, 2], [30, 40]]}], "imagePath": "odd.jpg", "flags": {}}
SUPERVISELY = {"description": "", "size": {"height": HEIGHT, "width": WIDTH}, "objects": []}
LABEL_STUDIO = {"id": 1, "data": {"image": "odd.jpg"}, "annotations": []}

BOXES = [
    boxes_case("box as large as the image", USED, "", box(0, 0, WIDTH, HEIGHT)),
    boxes_case("box 1 px past the border", CHANGED, f"{CLIPPED} (1): odd.json box 0", box(-1, 0, 50, 30)),
    boxes_case(
        "box 2 px past the border", CHANGED, f"{CLIPPED} (1): odd.json box 0", box(50, 30, WIDTH - 48, HEIGHT - 28)
    ),
    boxes_case(
        "box 3 px past the border",
        STOPS,
        "is 3 px past the border of 96x64. Counting starts at 0",
        box(50, 30, WIDTH - 47, 4),
    ),
    boxes_case("box outside the image", STOPS, "px past the border of 96x64", box(200, 10, 20, 20)),
    boxes_case("inverted box beside another", CHANGED, f"{FLAT} (1): odd.json box 1", box(*OBJECT), box(50, 30, -9, 9)),
    boxes_case(
        "no box but an inverted one",
        LEFT_OUT,
        "image whose boxes all have no area, left out (1): odd.json",
        box(50, 30, -9, 9),
    ),
    boxes_case(
        "no box but one without area",
        LEFT_OUT,
        "image whose boxes all have no area, left out (1): odd.json",
        box(50, 30, 0, 9),
    ),
    boxes_case("floats", USED, "", box(12.25, 8.5, 36.75, 16.125)),
    boxes_case(
        "fractions of the image",
        STOPS,
        "train: 1 JSON with boxes that all lie within 0 to 1, as fractions of the image do, while pixels are read",
        box(0.125, 0.125, 0.375, 0.25),
    ),
    boxes_case(
        "the one pixel in the upper left corner", USED, "or of the whole image in fractions; read as p", box(0, 0, 1, 1)
    ),
    boxes_case("a fraction beside pixels", USED, "", box(0.125, 0.125, 0.375, 0.25), box(*OBJECT)),
    boxes_case("numbers as strings", USED, "", box("12", "8.0", "3.6e1", " 16 ", "1"), given=LABEL),
    boxes_case(
        "string that is no number", STOPS, f'{WHERE}box 0 has left "12px", not a number', box("12px", 8, 36, 16)
    ),
    boxes_case("decimal comma", STOPS, f'{WHERE}box 0 has left "12,5", not a number', box("12,5", 8, 36, 16)),
    boxes_case("class id 1.0", USED, "", box(*OBJECT, 1.0)),
    boxes_case(
        "class id out of range", STOPS, "box 0 has class_id 3 (ids run from 0 to 2; num_classes is 3)", box(*OBJECT, 3)
    ),
    boxes_case(
        "class id negative", STOPS, "box 0 has class_id -1 (ids run from 0 to 2; num_classes is 3)", box(*OBJECT, -1)
    ),
    boxes_case("class id a fraction", STOPS, "box 0 has class_id 0.5 (ids", box(*OBJECT, 0.5)),
    boxes_case("class id a boolean", STOPS, "box 0 has class_id true, not a number", box(*OBJECT, True)),
    boxes_case("class id a name", STOPS, 'box 0 has class_id "dog", not a number', box(*OBJECT, "dog")),
    boxes_case("class id huge", STOPS, "box 0 has class_id 1e+300 (ids", box(*OBJECT, 10**300)),
    boxes_case("class id of 400 digits", STOPS, "box 0 has class_id 1000", box(*OBJECT, 10**400)),
    boxes_case("no box", USED, "", given=EMPTY),
    boxes_case("500 boxes", USED, "label_width is 350, but the fullest image needs 2502; 2502 is used", *MANY),
    boxes_case("coordinate NaN", STOPS, "box 0 has left NaN, not a number", box(float("nan"), 8, 36, 16)),
    boxes_case("coordinate infinite", STOPS, "box 0 has width Infinity, not a number", box(12, 8, float("inf"), 16)),
    boxes_case("coordinate null", STOPS, "box 0 has top null, not a number", box(12, None, 36, 16)),
    boxes_case(
        "box without width and height", STOPS, "box 0 has no width, height", {"class_id": 1, "left": 1, "top": 2}
    ),
    boxes_case("box as a list", STOPS, "box 0 is [1, 2, 3, 4, 5], not an object with", [1, 2, 3, 4, 5]),  # type: ignore[arg-type]
    boxes_case("further keys in a box", USED, "", {**box(*OBJECT), "difficult": 1}, given=LABEL),
]
KEYS = [
    content_case("no image_size", USED, "", image_size=None),
    content_case("image_size an object", USED, "", image_size={"width": WIDTH, "height": HEIGHT}),
    content_case("image_size with strings", USED, "", image_size=[{"width": "96", "height": "64"}]),
    content_case("image_size an empty list", USED, "", image_size=[]),
    content_case(
        "image_size zero",
        STOPS,
        'an "image_size" without a width and height above 0',
        image_size=[{"width": 0, "height": 64}],
    ),
    content_case(
        "image_size a list of two numbers", STOPS, 'has the "image_size" 96; write [{"width": 500', image_size=[96, 64]
    ),
    text_case(
        "image_size not the image's",
        USED,
        "image_size is not the image's own size, boxes are scaled by image_size (1): odd.json (192x128 for 96x64 px)",
        json.dumps({"image_size": [{"width": 192, "height": 128}], "annotations": [box(24, 16, 72, 32)]}),
    ),
    text_case(
        "image_size of one pixel: fractions",
        USED,
        "",
        json.dumps({"image_size": [{"width": 1, "height": 1}], "annotations": [box(0.125, 0.125, 0.375, 0.25)]}),
    ),
    text_case(
        "image_size with its sides swapped",
        USED,
        "image_size has width and height the wrong way round, read as swapped (1): odd.json (64x96 for 96x64 px)",
        json.dumps({"image_size": [{"width": 64, "height": 96}], "annotations": [box(*OBJECT)]}),
    ),
    content_case(
        "no annotations", STOPS, 'has no list "annotations"; for an image without objects write', annotations=None
    ),
    content_case("annotations an object", STOPS, 'has no list "annotations"', annotations=box(*OBJECT)),
    content_case("no file", USED, "", file=None),
    content_case("file a number", STOPS, 'has the "file" 7, which is not a name', file=7),
    content_case(
        "categories that do not fit",
        USED,
        "JSON whose categories name other class_ids than its boxes have, not used (1): odd.json",
        categories=[{"class_id": 99, "name": "cat"}],
    ),
]
TEXTS = [
    text_case("key twice: the last one counts", USED, "", PLAIN.replace('{"file"', '{"annotations": [], "file"', 1)),
    text_case("byte order mark", USED, "", PLAIN.encode("utf-8-sig")),
    text_case("UTF-16", USED, "", PLAIN.encode("utf-16")),
    text_case(
        "Latin-1",
        STOPS,
        f"{WHERE}is not UTF-8 text (byte 11); save it as UTF-8",
        PLAIN.encode().replace(b"odd", b"\xf6dd"),
    ),
    text_case("JSON lines", STOPS, f"{WHERE}holds more than one JSON object", f"{PLAIN}\n{PLAIN}\n"),
    text_case("a list of objects", STOPS, f"{WHERE}holds no JSON object; write", f"[{PLAIN}]"),
    text_case("empty file", STOPS, f"{WHERE}is empty", ""),
    text_case("cut off", STOPS, f"{WHERE}is not JSON: ", PLAIN[:-20]),
    text_case("comma behind the last", STOPS, f"{WHERE}is not JSON: ", PLAIN.replace("]}", "],}")),
    text_case("single quotes", STOPS, f"{WHERE}is not JSON: ", PLAIN.replace('"', "'")),
    text_case("nested without end", STOPS, f"{WHERE}is not JSON: nested too deeply", "[" * 100_000),
    text_case(
        "nested as deep as JSON is read", STOPS, WHERE, '{"annotations": [], "file": ' + "[" * 950 + "]" * 950 + "}"
    ),
    text_case("COCO's format", STOPS, f"{WHERE}is a COCO file, not this job's: ", json.dumps(COCO)),
    text_case("line of an augmented manifest", STOPS, f"{WHERE}is a line of a manifest of ", json.dumps(MANIFEST)),
    text_case("labelme's JSON", STOPS, f"{WHERE}is labelme's JSON, not this job's: ", json.dumps(LABELME)),
    text_case("Supervisely's JSON", STOPS, f"{WHERE}is Supervisely's JSON, ", json.dumps(SUPERVISELY)),
    text_case("Label Studio's JSON", STOPS, f"{WHERE}is Label Studio's JSON, ", json.dumps([LABEL_STUDIO])),
    text_case("Label Studio's task without objects", STOPS, "is Label Studio's JSON, ", json.dumps(LABEL_STUDIO)),
    text_case(
        "SuperAnnotate's JSON", STOPS, "is SuperAnnotate's JSON, ", '{"metadata": {}, "instances": [{"points": 1}]}'
    ),
    text_case(
        "objects under another key", STOPS, "annotations\", but 'marks': if another", '{"marks": [[1, 2, 3, 4]]}'
    ),
    text_case("compressed", STOPS, f"{WHERE}is compressed (gzip): unpack it", gzip.compress(PLAIN.encode())),
    text_case("Pascal VOC's XML", STOPS, f"{WHERE}is XML, not JSON: ", "<annotation><object/></annotation>"),
]
CASES = [*BOXES, *KEYS, *TEXTS]
