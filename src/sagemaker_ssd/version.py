"""Which version of this program runs, and which build of MXNet is installed beside it."""

from importlib import metadata


def version() -> str:
    """Return this program's version; an image's ends on the commit it was built from: 0.2.0+g1a2b3c4d5e6f."""
    return metadata.version("sagemaker-ssd")


def is_gpu_build() -> bool:
    """Say whether the installed MXNet is the one that needs an NVIDIA driver, as in the GPU image."""
    try:
        metadata.distribution("mxnet-cu112")
    except metadata.PackageNotFoundError:
        return False
    return True
