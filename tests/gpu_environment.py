"""An environment like the one that runs the tests, with a place for the GPU image's stand-in for the driver."""

import shutil
import sys
import sysconfig
from pathlib import Path


def make_environment(environment: Path) -> Path:
    """Make an environment with the packages of this one; return where the stand-in belongs, which is not there yet."""
    site = Path(sysconfig.get_path("purelib"))
    stand_in = environment / "lib" / "driver-stand-in" / "libcuda.so.1"
    for folder in (environment / "bin", environment / "lib" / site.parent.name, stand_in.parent):
        folder.mkdir(parents=True)
    (environment / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    (environment / "lib" / site.parent.name / site.name).symlink_to(site)
    shutil.copy(Path(sys.prefix) / "pyvenv.cfg", environment)
    return stand_in
