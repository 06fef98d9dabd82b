"""What is made of the best model when the training is done: figures, report, and forms that run elsewhere.

None of it may cost the job: each part that breaks is told in a warning, and the next one follows.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx

from sagemaker_ssd.channels.annotations import class_names
from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.contract.environment import CLOSING_SECONDS
from sagemaker_ssd.contract.job import Job
from sagemaker_ssd.cores import decode_threads
from sagemaker_ssd.export.deploy import write_deploy
from sagemaker_ssd.export.onnx import write_onnx
from sagemaker_ssd.report.write import write_report
from sagemaker_ssd.scoring.coco import DEFINITIONS
from sagemaker_ssd.scoring.evaluate import Evaluation, evaluate_model
from sagemaker_ssd.scoring.saved_model import LoadedModel, load_model, read_picture
from sagemaker_ssd.worker.metrics import Metrics

_log = logging.getLogger(__name__)


class Finalization:
    """Makes everything of the model in the model folder; `device` is what it detects on."""

    def __init__(self, job: Job, validation: RecordFile, metrics: Metrics, device: mx.Context, scratch: Path) -> None:
        self._job, self._validation, self._metrics = job, validation, metrics
        self._device, self._scratch = device, scratch
        self._output = job.paths.output_data

    def run(self) -> None:
        """Make the figures, the report, the deploy form and the ONNX model."""
        # A step of it that hangs must not keep an instance for ever.
        deadline = threading.Timer(CLOSING_SECONDS, _give_up)
        deadline.daemon = True
        deadline.start()
        names = self._class_names()
        model = self._guarded("the model could not be read back", self._model)
        if model is not None:
            found = self._guarded("the final figures are missing", lambda: self._evaluate(model, names))
            if found is not None:
                self._guarded("report.html is missing", lambda: self._report(found))
            self._guarded("the deploy form is missing", lambda: self._deploy(model))
            self._guarded("model.onnx is missing", lambda: self._onnx(model, names))
        deadline.cancel()

    def _guarded(self, missing: str, part: Callable[[], Any]) -> Any:
        try:
            return part()
        except Exception as error:
            _log.warning("The training is done and its model is whole, but %s: %s", missing, error, exc_info=True)
            return None

    def _class_names(self) -> list[str]:
        channel = self._job.validation
        return class_names(channel.annotations, self._job.hyperparameters.num_classes)

    def _model(self) -> LoadedModel:
        return load_model(self._job.paths.model, self._scratch, device=self._device)

    def _evaluate(self, model: LoadedModel, names: list[str]) -> Evaluation:
        chosen, begin = self._job.hyperparameters, time.monotonic()
        found = evaluate_model(
            model,
            self._validation,
            names,
            overlap_threshold=chosen.overlap_threshold,
            batch_size=chosen.mini_batch_size,
            threads=decode_threads(),
        )
        found.write(self._output)
        self._metrics.took("figures", time.monotonic() - begin)
        self._metrics.add(best=found.figures, definitions=DEFINITIONS, anchors=found.anchors)
        return found

    def _report(self, found: Evaluation) -> None:
        path = self._output / "report.html"
        write_report(
            path,
            self._metrics.document(),
            found.ground_truth,
            found.results,
            lambda number: read_picture(self._validation, number),
        )

    def _deploy(self, model: LoadedModel) -> None:
        write_deploy(self._output / "deploy", model.network, model.weights.arguments, model.weights.states)

    def _onnx(self, model: LoadedModel, names: list[str]) -> None:
        path = self._output / "model.onnx"
        write_onnx(path, model.network, model.weights.arguments, model.weights.states, names)
        _log.info("The model as ONNX: %s", path)


def _give_up() -> None:
    _log.warning("What follows the training took more than %d minutes and is given up", CLOSING_SECONDS / 60)
    os._exit(0)
