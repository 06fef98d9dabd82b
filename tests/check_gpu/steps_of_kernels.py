"""The steps that check-gpu compares, on this CPU: `steps_of_kernels.py NETWORK BATCHES FILE` pickles them.

With MXNET_MKLDNN_ENABLED=0 in the environment MXNet's own kernels compute them, otherwise oneDNN: two programs that
sum in different orders, as a card and a CPU do.
"""

import pickle
import sys
from pathlib import Path

import mxnet as mx

from sagemaker_ssd.check_gpu.checks import CLASSES, drawn_steps
from sagemaker_ssd.ssd.network import Network


def main() -> None:
    """Write the steps."""
    network = Network(sys.argv[1], 300, CLASSES)
    steps = drawn_steps(network, mx.cpu(), images=2, batches=int(sys.argv[2]))
    Path(sys.argv[3]).write_bytes(pickle.dumps(steps))


if __name__ == "__main__":
    main()
