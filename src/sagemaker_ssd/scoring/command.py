"""How the commands on saved models, predict and evaluate, run: MXNet's environment, faults as sentences, exit codes."""

import logging
import os
import sys
from collections.abc import Callable

from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import JobError, UserError


def run(work: Callable[[], int]) -> int:
    """Do the work and return its exit code or that of its failure; MXNet must not have been imported before it."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    # MXNet would announce every graph, and take one thread for every two processors.
    os.environ.setdefault("MXNET_SUBGRAPH_VERBOSE", "0")
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    try:
        return work()
    except JobError as error:
        print(error.sentence, file=sys.stderr)
        return error.exit_code
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return UserError.exit_code
