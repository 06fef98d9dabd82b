"""A scheduler or a server of MXNet's parameter server, as DMLC_ROLE says."""

import argparse
import os
from typing import Final

from sagemaker_ssd.native_faults import end_at_native_faults
from sagemaker_ssd.processes.child_end import end_with_supervisor

_ROLE: Final = "DMLC_ROLE"


def main() -> None:
    """Serve until the workers have left, or until the supervisor ends this process, or ends itself."""
    parser = argparse.ArgumentParser(prog="sagemaker_ssd.worker.parameter_server", description=__doc__)
    parser.add_argument("--supervisor", type=int, required=True, help="process id of the supervisor")
    end_with_supervisor(parser.parse_args().supervisor)
    # With these roles MXNet's import itself serves, and never comes back.
    role = os.environ.pop(_ROLE)
    import mxnet as mx

    end_at_native_faults()
    os.environ[_ROLE] = role
    mx.kvstore.KVStoreServer(mx.kv.create("dist")).run()


if __name__ == "__main__":
    main()
