"""The worker process: runs the training and reports to the supervisor how it ended."""

import argparse
import logging
import os
from pathlib import Path

from sagemaker_ssd import amx, logs
from sagemaker_ssd.collectives import ProcessGroup, SupervisorSocket
from sagemaker_ssd.contract.environment import stop_budget
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.errors import JobError, ProgramError
from sagemaker_ssd.native_faults import end_at_native_faults
from sagemaker_ssd.processes.child_end import end_with_supervisor, leave
from sagemaker_ssd.progress import READING_FILES, phase
from sagemaker_ssd.worker.failures import explain
from sagemaker_ssd.worker.stopping import SigtermListener


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sagemaker_ssd.worker", description="Started by the supervisor.")
    parser.add_argument("--base", type=Path, required=True, help="the job's /opt/ml")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for temporary files")
    parser.add_argument("--gpus", type=int, required=True, help="how many GPUs the machine has")
    parser.add_argument("--progress-bar", action="store_true", help="a bar instead of a line every 100 batches")
    parser.add_argument("--channel", type=int, required=True, help="file descriptor of the socket to the supervisor")
    parser.add_argument("--patience", type=float, required=True, help="seconds in which a step must have an end")
    parser.add_argument("--supervisor", type=int, required=True, help="process id of the supervisor")
    return parser.parse_args()


def _run(arguments: argparse.Namespace, supervisor: SupervisorSocket, sigterm: SigtermListener) -> JobError | None:
    workload, smaller_batch_size, writes_checkpoints = "this job", None, False
    try:
        with phase(READING_FILES):
            job = read_job(arguments.base)
        hyperparameters = job.hyperparameters
        devices = f"{arguments.gpus} GPU(s)" if arguments.gpus else "CPU"
        smaller_batch_size, writes_checkpoints = hyperparameters.smaller_batch_size, job.checkpoints is not None
        workload = (
            f"{hyperparameters.base_network}, image_shape {hyperparameters.image_shape}, mini_batch_size "
            f"{hyperparameters.mini_batch_size} and num_classes {hyperparameters.num_classes} on {devices}"
        )
        amx.request_permission()
        # Imports MXNet, which takes seconds and can fail: inside, so that a failure gets its sentence.
        from sagemaker_ssd.worker.train_job import train_job

        end_at_native_faults()
        train_job(
            job,
            ProcessGroup(supervisor, job.cluster.hosts, job.cluster.current_host, arguments.patience),
            scratch=arguments.scratch,
            gpus=arguments.gpus,
            progress_bar=arguments.progress_bar,
            sigterm=sigterm,
        )
    except BaseException as error:
        failure = explain(error, workload, smaller_batch_size, writes_checkpoints=writes_checkpoints)
        # Where the sentence is not what was raised, nothing else tells what was, and where.
        if failure is not error or isinstance(failure, ProgramError):
            logging.getLogger(__name__).exception("training failed")
        return failure
    return None


def main() -> None:
    """Train, report the exit code and the sentence, and leave."""
    sigterm = SigtermListener(stop_budget(os.environ))
    sigterm.start()
    arguments = _arguments()
    end_with_supervisor(arguments.supervisor)
    logs.configure()
    supervisor = SupervisorSocket(arguments.channel)
    error = _run(arguments, supervisor, sigterm)
    exit_code, sentence = (error.exit_code, error.sentence) if error else (0, "")
    supervisor.report(exit_code, sentence)
    leave(exit_code)


if __name__ == "__main__":
    main()
