"""What `train`, `serve` and `check-gpu` run: holds signals back until the program, slow to import, answers them."""

import os
import signal
import sys


def main() -> int:
    """Run the supervisor, or with the argument `serve` the front of hosting, or `check-gpu`; return the exit code."""
    # In process 1 of a container a signal without a handler is lost, while one that is held back waits.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    _open_standard_streams()
    # Here, where signals are held back already.
    from sagemaker_ssd.commands import give_up_closed_streams

    if sys.argv[1:2] == ["check-gpu"]:
        from sagemaker_ssd.check_gpu.__main__ import main as check_gpu

        code = check_gpu(sys.argv[2:])
    elif sys.argv[1:2] == ["serve"]:
        from sagemaker_ssd.serving.main import main as serve

        code = serve(sys.argv[2:])
    else:
        from sagemaker_ssd.supervisor.main import main as train

        code = train(sys.argv[1:])
    give_up_closed_streams()
    # The interpreter's end brings the default handlers back, and with them another exit code.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    return code


def _open_standard_streams() -> None:
    """Open what the caller has closed of stdin, stdout and stderr, which the worker inherits."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # The lowest free number is the closed one.
            assert os.open(os.devnull, os.O_RDWR) == number
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, "r" if number == 0 else "w"))  # noqa: SIM115, PTH123


if __name__ == "__main__":
    sys.exit(main())
