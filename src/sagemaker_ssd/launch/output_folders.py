"""The folders that the job writes its results into."""

from sagemaker_ssd.contract import Job
from sagemaker_ssd.errors import UserError


def make_output_folders(job: Job) -> None:
    """Make the folders for the model, the metrics and the checkpoints; raises UserError when one is not writable."""
    wanted = {job.paths.model: "its results", job.paths.output_data: "its results"}
    if job.checkpoints is not None:
        wanted[job.checkpoints] = "its checkpoints"
    for folder, what in wanted.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # The ending keeps SageMaker from uploading it.
            probe = folder / ".writable.sagemaker-ignore"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror}. The job needs to write {what} there"
            ) from error
