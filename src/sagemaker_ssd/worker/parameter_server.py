"""A scheduler or a server of MXNet's parameter server, as DMLC_ROLE says."""

import argparse

from sagemaker_ssd.processes.child_end import end_with_supervisor


def main() -> None:
    """Serve until the workers have left, or until the supervisor ends this process, or ends itself."""
    parser = argparse.ArgumentParser(prog="sagemaker_ssd.worker.parameter_server", description=__doc__)
    parser.add_argument("--supervisor", type=int, required=True, help="process id of the supervisor")
    end_with_supervisor(parser.parse_args().supervisor)
    # In these roles the import itself serves, and ends the process.
    import mxnet  # noqa: F401


if __name__ == "__main__":
    main()
