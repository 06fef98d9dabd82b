"""A stop that comes while the supervisor is still being imported is not lost."""

import signal
import subprocess
import sys
from pathlib import Path

# Stands in front of the first package that the supervisor imports; ends with 7 when nothing has ended it before.
SLOW = """
import sys, time
print("importing", flush=True)
time.sleep(1)
sys.exit(7)
"""


def test_signals_wait_while_the_imports_run(tmp_path: Path):
    (tmp_path / "pydantic.py").write_text(SLOW)
    process = subprocess.Popen(
        [sys.executable, "-m", "sagemaker_ssd"], env={"PYTHONPATH": str(tmp_path)}, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 7
    finally:
        process.kill()
        process.communicate()
