"""What image decoders write on stderr for every image, of which a job's log has the first lines alone."""

import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LAST = b"The next warning of an image decoder is the last one shown.\n"
LINE = b"libpng warning: iCCP: known incorrect sRGB profile\n"
PROGRAM = """
import os, sys
from sagemaker_ssd.processes.child_process import ChildProcess
child = ChildProcess("decodes", [], {**os.environ, "PYTHONPATH": sys.argv[1]})
while not child.wait(1):
    pass
"""
CHILD = """
import os
pieces = [bytes.fromhex(piece) for piece in {pieces}]
for piece in pieces:
    os.write(2, piece)
"""


def passed_on(tmp_path: Path, pieces: Sequence[bytes]) -> bytes:
    (tmp_path / "decodes.py").write_text(CHILD.format(pieces=[piece.hex() for piece in pieces]))
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    return subprocess.run(command, capture_output=True, timeout=60, check=True).stderr


def test_the_first_lines_alone_are_passed_on(tmp_path: Path):
    others = [f"line {number}, libpng warning: none\n".encode() for number in range(40)]
    text = b"".join(other + LINE for other in others) + b"Corrupt JPEG data: premature end\nterminate called"
    # Bytes come in pieces of any length.
    places = sorted(random.Random(1).sample(range(1, len(text)), 60))
    pieces = [text[begin:end] for begin, end in zip([0, *places], [*places, len(text)], strict=True)]
    said = passed_on(tmp_path, pieces)
    assert said.count(LINE) == 10
    assert said.count(LAST) == 1
    rest = said.replace(LINE, b"").replace(LAST, b"")
    assert rest == b"".join(others) + b"terminate called"


def test_other_words_come_as_they_are(tmp_path: Path):
    assert (
        passed_on(tmp_path, [b"lib", b"rary\n", b"libpng", b" error\n", b"[", b" WAR"])
        == b"library\nlibpng error\n[ WAR"
    )
