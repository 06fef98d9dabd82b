"""A fingerprint of weights, by which hosts can tell whether theirs are the same."""

import hashlib

from sagemaker_ssd.engine.replica import Arrays


def digest(arrays: Arrays) -> str:
    """Return the SHA-256 of the arrays' names, shapes and bytes, in the order of their names, in hexadecimal."""
    found = hashlib.sha256()
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].shape}\n".encode())
        found.update(arrays[name].asnumpy())
    return found.hexdigest()
