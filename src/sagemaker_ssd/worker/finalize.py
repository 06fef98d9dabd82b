"""What is made of the best model once the training is done: figures, report, and forms that run elsewhere.

None of it may cost the job: a part that fails becomes a warning, and the next one follows.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import mxnet as mx

from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.contract.environment import FINALIZE_SECONDS
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.contract.model_folder import PARAMETERS
from sagemaker_ssd.contract.paths import Paths
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.export.deploy import DEPLOY_FILES, write_deploy
from sagemaker_ssd.export.onnx import write_onnx
from sagemaker_ssd.progress import phase
from sagemaker_ssd.report.write import write_report
from sagemaker_ssd.scoring.coco import DEFINITIONS, GROUND_TRUTH_FILE, RESULTS_FILE
from sagemaker_ssd.scoring.evaluate import Evaluation, evaluate_model
from sagemaker_ssd.scoring.saved_model import LoadedModel, load_model, read_picture
from sagemaker_ssd.worker.metrics import Metrics

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")


def finalize(
    job: Job, validation: RecordFile, metrics: Metrics, device: mx.Context, batch_size: int, scratch: Path
) -> None:
    """Make the figures, the report, the deploy form and the ONNX model of the model in the model folder.

    device: what the model detects on, batch_size images at a time.
    """
    # A part that hangs must not keep an instance for ever.
    deadline = threading.Timer(FINALIZE_SECONDS, _give_up, [job.paths])
    deadline.daemon = True
    deadline.start()
    names = validation.name_of_each_class()
    model = _attempt(
        "the model could not be read back",
        "The model is being read back",
        lambda: load_model(job.paths.model / PARAMETERS, scratch, device=device),
    )
    if model is not None:
        network, weights = model.network, model.weights
        # What takes seconds comes before what can take an hour.
        _attempt(
            "the deploy form is missing",
            "The deploy form is being written",
            lambda: write_deploy(job.paths.deploy, network, weights.arguments, weights.states),
        )
        _attempt(
            "model.onnx is missing",
            "The ONNX model is being written",
            lambda: _write_onnx(job.paths.onnx_model, model, names),
        )
        found = _attempt(
            "the final figures are missing",
            "The model is being evaluated",
            lambda: _evaluate(model, job, validation, names, metrics, batch_size),
        )
        if found is not None:
            _attempt(
                "report.html is missing",
                "The report is being written",
                lambda: write_report(
                    job.paths.report,
                    metrics.document(),
                    found.ground_truth,
                    found.results,
                    lambda number: read_picture(validation, number),
                ),
            )
    deadline.cancel()


def _attempt(missing: str, under_way: str, part: Callable[[], _Result]) -> _Result | None:
    """Do a part; missing: what to say when it fails. under_way: what to say while it takes long."""
    try:
        with phase(under_way):
            return part()
    except Exception as error:
        _log.warning("The training is done and its model is whole, but %s: %s", missing, error, exc_info=True)
        return None


def _evaluate(
    model: LoadedModel, job: Job, validation: RecordFile, names: list[str], metrics: Metrics, batch_size: int
) -> Evaluation:
    begin = time.monotonic()
    evaluation = evaluate_model(
        model,
        validation,
        names,
        overlap_threshold=job.hyperparameters.overlap_threshold,
        batch_size=batch_size,
        threads=usable_cores(),
    )
    evaluation.write(job.paths.output_data)
    metrics.add_seconds("figures", time.monotonic() - begin)
    metrics.add_final(evaluation.figures, DEFINITIONS, evaluation.anchors)
    return evaluation


def _write_onnx(path: Path, model: LoadedModel, names: list[str]) -> None:
    write_onnx(path, model.network, model.weights.arguments, model.weights.states, names)
    _log.info("The model as ONNX: %s", path)


def _give_up(paths: Paths) -> None:
    coco = (paths.output_data / name for name in (GROUND_TRUTH_FILE, RESULTS_FILE))
    # The folder `deploy` may be there and empty.
    files = (*(paths.deploy / name for name in DEPLOY_FILES), paths.onnx_model, *coco)
    missing = [path.name for path in files if not path.exists()] + ["the whole report"]
    _log.warning(
        "The training is done and its model is whole, but what follows it took more than %d minutes and is given up; "
        "missing: %s. `python -m sagemaker_ssd.evaluate` makes figures and report of the model, "
        "`python -m sagemaker_ssd.export` the ONNX model",
        FINALIZE_SECONDS / 60,
        ", ".join(missing),
    )
    os._exit(0)
