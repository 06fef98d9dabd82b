"""Parses hyperparameters from their strings: as every SDK spells them, strictly by the declared type.

The parsers return what is not a string as it is, so that pydantic judges it.
"""

import itertools
import json
import re
from typing import Final

# SDK v2 sends str(value), SDK v3 json.dumps(value), the console an empty string for what was left open.
_NOT_SET: Final = ("", "None", "null")
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# Numbers between commas, blanks or x, with or without brackets: the shape of an array or the size of an image.
_SHAPE: Final = re.compile(r"[\[(]?\s*\d+(\s*[,;x\u00d7*/ ]\s*\d+)+\s*,?\s*[\])]?", re.ASCII | re.IGNORECASE)
# MXNet's shapes and counts are 32-bit.
INT32_MAX: Final = 2**31 - 1
# An array of MXNet has fewer than 2^31 - 1 numbers, and the first layer of one image has 64 x side x side of them, side
# being image_shape with vgg-16 and half of it with resnet-50: a larger one runs on no machine.
LARGEST_IMAGE_SHAPES: Final = {"vgg-16": 5792, "resnet-50": 11584}
SMALLEST_IMAGE_SHAPE: Final = 300
LARGEST_IMAGE_SHAPE: Final = max(LARGEST_IMAGE_SHAPES.values())
# For the same reason: the weights that predict the classes on the widest feature map have for each class, and for the
# background, 6 x 1024 x 3 x 3 numbers with vgg-16 and 6 x 2048 x 3 x 3 with resnet-50.
LARGEST_NUM_CLASSES: Final = {"vgg-16": 38_835, "resnet-50": 19_417}
LARGEST_NUMBER_OF_CLASSES: Final = max(LARGEST_NUM_CLASSES.values())
_TOO_MANY_CLASSES: Final = (
    "the weights that predict the classes on one feature map are more numbers than an array of MXNet can hold (2^31)"
)
_SIDE: Final = "the side in pixels of the square that images are resized to"
BOOLEANS: Final = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}


class ExplainedError(ValueError):
    """Says itself what is wrong; its text follows the value: `<name> is '<value>', <text>`."""


def unquoted(text: str) -> str | None:
    """Strip blanks and one level of JSON quoting; None when the value means "not set"."""
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            text = str(json.loads(text)).strip()
        except ValueError:
            # A regular expression put into quotes by hand: its backslashes are no JSON escapes.
            text = text[1:-1].strip()
    return None if text in _NOT_SET else text


def parse_float(value: object) -> object:
    """Parse a decimal number; NaN, 1_000, 0x10 and 0,1 are none, and 1e999 is one that pydantic refuses as infinite."""
    if not isinstance(value, str):
        return value
    if not _NUMBER.fullmatch(value):
        raise ValueError("not a number")
    return float(value)


def parse_int(value: object) -> object:
    """Parse a whole number, which may be written as 32.0."""
    number = parse_float(value)
    if not isinstance(number, float):
        return number
    if not number.is_integer():
        raise ValueError("not a whole number")
    if abs(number) > INT32_MAX:
        raise ExplainedError(f"which is too large; the largest whole number is {INT32_MAX}")
    return int(number)


def parse_num_classes(value: object) -> object:
    """Parse num_classes; raises ExplainedError for more classes than a network can be built for."""
    number = parse_float(value)
    if isinstance(number, float) and number.is_integer() and number > LARGEST_NUMBER_OF_CLASSES:
        raise ExplainedError(
            f"which no network can be built for: from {LARGEST_NUMBER_OF_CLASSES + 1} on {_TOO_MANY_CLASSES}; it must "
            f"be a whole number from 1 to {LARGEST_NUMBER_OF_CLASSES}"
        )
    return parse_int(value)


def check_classes_of_network(base_network: str, num_classes: int) -> None:
    """Raise ExplainedError for a network that cannot be built for so many classes."""
    largest = LARGEST_NUM_CLASSES[base_network]
    if num_classes > largest:
        others = [name for name, most in LARGEST_NUM_CLASSES.items() if most >= num_classes]
        raise ExplainedError(
            f"which cannot be built for num_classes {num_classes}: from {largest + 1} classes on {_TOO_MANY_CLASSES}; "
            f"it must be {' or '.join(others)}, or num_classes at most {largest}"
        )


def parse_image_shape(value: object) -> object:
    """Parse image_shape, one number; explain what others give: `3,300,300` of image classification, `512x512`."""
    if isinstance(value, str) and len(numbers := re.findall(r"\d+", value)) > 1 and _SHAPE.fullmatch(value):
        # Channels come first or last.
        sides = {int(number) for number in numbers if len(numbers) < 3 or number not in ("1", "3")}
        side = sides.pop() if len(sides) == 1 else None
        if side is not None and SMALLEST_IMAGE_SHAPE <= side <= LARGEST_IMAGE_SHAPE:
            raise ExplainedError(f"but it is one number, {_SIDE}: write {side}")
        raise ExplainedError(
            f"but it is one number, {_SIDE}: a whole number from {SMALLEST_IMAGE_SHAPE} to {LARGEST_IMAGE_SHAPE}"
        )
    return parse_int(value)


def check_image_shape(side: int, base_network: str) -> int:
    """Raise ExplainedError for a side with which the network runs on no machine."""
    largest = LARGEST_IMAGE_SHAPES[base_network]
    if side > largest:
        raise ExplainedError(
            f"at which {base_network} runs on no machine: from {largest + 1} on the first layer of one image has more "
            f"numbers than an array of MXNet can hold (2^31); it must be a whole number from {SMALLEST_IMAGE_SHAPE} to "
            f"{largest}"
        )
    return side


def parse_ints(value: object) -> object:
    """Parse `10, 20` and `[10, 20]`, also `(10, 20)`, as SageMaker's SDK 2 writes a tuple."""
    if not isinstance(value, str):
        return value
    bare = value[1:-1] if value[:1] + value[-1:] in ("[]", "()") else value
    if not bare.strip():
        return ()
    return tuple(parse_int(unquoted(item) or "") for item in bare.split(","))


def parse_bool(value: object) -> object:
    """Parse True, true, 1, 1.0 or False, false, 0, 0.0."""
    if not isinstance(value, str):
        return value
    if value.lower() not in BOOLEANS:
        raise ValueError("neither true nor false")
    return BOOLEANS[value.lower()]


def parse_kv_store(value: object) -> object:
    """Parse the mode of updates; the container's default `device` and the documentation's `-` mean not set."""
    return None if value in ("device", "-") else value


def check_precision(precision: str) -> str:
    """Raise ExplainedError for what a GPU could do and nobody has tried."""
    if precision == "float16":
        raise ExplainedError(
            "which is not offered, since it has not been tried on a GPU; it must be float32, or bfloat16 for CPUs"
        )
    return precision


def check_increasing(steps: tuple[int, ...]) -> tuple[int, ...]:
    """Raise ValueError unless every number is larger than the one before."""
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError("not increasing")
    return steps


def check_pattern(pattern: str) -> str:
    """Raise ExplainedError unless the text is a regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        place = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ExplainedError(f"which is not a regular expression: {error.msg}{place}") from error
    except (OverflowError, RecursionError) as error:
        raise ExplainedError(f"which is not a regular expression that can be used: {error}") from error
    return pattern
