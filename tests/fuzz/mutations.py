"""Strategies: bytes that were good once, JSON of every shape, labels of every float."""

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

EDITS = ("replace", "insert", "delete", "double", "cut")


def mutated(originals: list[bytes], most: int = 6) -> st.SearchStrategy[bytes]:
    """Give one of the originals with a few edits at any places."""
    edit = st.tuples(st.sampled_from(EDITS), st.floats(0, 1), st.binary(min_size=1, max_size=8))
    # A second kind of place: near the beginning, where the headers are.
    near = st.tuples(st.sampled_from(EDITS[:3]), st.floats(0, 0.02), st.binary(min_size=1, max_size=2))
    edits = st.lists(edit | near, min_size=1, max_size=most)
    return st.tuples(st.sampled_from(originals), edits).map(lambda drawn: _edited(*drawn))


def _edited(data: bytes, edits: list[tuple[str, float, bytes]]) -> bytes:
    for kind, place, content in edits:
        at = int(place * len(data))
        if kind == "replace":
            data = data[:at] + content + data[at + len(content) :]
        elif kind == "insert":
            data = data[:at] + content + data[at:]
        elif kind == "delete":
            data = data[:at] + data[at + content[0] % 16 + 1 :]
        elif kind == "double":
            data = data[:at] + data[max(0, at - content[0]) :]
        elif content[0] % 4 == 0:  # most edits should leave something to go on with
            data = data[:at]
    return data


def with_checksums(png: bytes) -> bytes:
    """Correct the checksums of a PNG, so that its decoder looks at what was edited."""
    made, place = png[:8], 8
    while place + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, place)
        if length > len(png) - place - 12:
            break
        body = png[place + 4 : place + 8 + length]
        made += png[place : place + 4] + body + struct.pack(">I", zlib.crc32(body))
        place += 12 + length
    return made + png[place:]


def nested(depth: int) -> str:
    """Write lists within lists."""
    return "[" * depth + "]" * depth


_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["1", "0.5", "1e999", "-1", "nan", " 3 ", "True", "[10, 20]", '"7"', "10,20", "0x10", "\ud800"])
    | st.sampled_from([10**400, -(10**20), 2**31, 1e300, 1e-300, "9" * 5000])
)
_VALUES = st.recursive(
    _LEAVES,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(max_size=5), some, max_size=3),
    max_leaves=6,
)


@st.composite
def json_texts(draw: st.DrawFn) -> str:
    """Give any JSON; some of it nested about as deeply as can be read."""
    # Python reads 1,000 levels, under Hypothesis 2,000.
    if draw(st.integers(0, 7)) == 0:
        return nested(draw(st.integers(1930, 2010) | st.integers(930, 1010)))
    return json.dumps(draw(_VALUES))


@st.composite
def json_objects(draw: st.DrawFn, usual: Mapping[str, Any], more: tuple[str, ...] = ()) -> bytes:
    """Give an object of the usual content in which some keys have other values, are gone, or are new."""
    texts = {key: json.dumps(value) for key, value in usual.items()}
    names = st.sampled_from([*usual, *more]) | st.text(max_size=6)
    for name in draw(st.lists(names, max_size=4)):
        texts[name] = draw(json_texts())
    for name in draw(st.lists(st.sampled_from(list(usual)), max_size=1)):
        texts.pop(name, None)
    pairs = [f"{json.dumps(key)}: {text}" for key, text in texts.items()]
    if pairs and draw(st.integers(0, 9)) == 0:
        pairs.append(pairs[0])
    return ("{" + ", ".join(pairs) + "}").encode()


_FLOATS = (
    st.floats(0, 1, width=32)
    | st.sampled_from(
        [0, 1, 0.5, -1, 2, 3, 5, 6, 1.01, -0.02, 1e-7, 1 + 1e-7, 1e30, 300, float("nan"), float("inf"), -0.0]
    )
    | st.floats(width=32)
)


@st.composite
def labels(draw: st.DrawFn) -> list[float]:
    """Give the floats of a label: mostly of the right form, sometimes with edits or of no form at all."""
    if draw(st.integers(0, 9)) == 0:
        return draw(st.lists(_FLOATS, max_size=14))
    header_width, object_width = draw(st.sampled_from([2, 2, 2, 3, 4])), draw(st.sampled_from([5, 5, 5, 6, 8]))
    label: list[float] = [
        header_width,
        object_width,
        *draw(st.lists(_FLOATS, min_size=header_width - 2, max_size=header_width - 2)),
    ]
    for _ in range(draw(st.integers(0, 5))):
        left, top, right, bottom = (draw(st.floats(0, 1, width=32)) for _ in range(4))
        class_id = draw(st.integers(0, 2))
        label += [class_id, min(left, right), min(top, bottom), max(left, right), max(top, bottom)]
        label += draw(st.lists(_FLOATS, min_size=object_width - 5, max_size=object_width - 5))
    for place in draw(st.lists(st.integers(0, len(label) - 1), max_size=3)):
        label[place] = draw(_FLOATS)
    return label[: len(label) - draw(st.sampled_from([0, 0, 0, 0, 1]))]
