"""Puts a model into the model folder."""

import logging

import mxnet as mx

from sagemaker_ssd.artifacts.model_files import PARAMETERS, write_model
from sagemaker_ssd.contract import Job
from sagemaker_ssd.contract.publication import publish, staging_folder
from sagemaker_ssd.engine.replica import Arrays

_log = logging.getLogger(__name__)


def save_model(job: Job, graph: mx.sym.Symbol, arguments: Arrays, states: Arrays) -> None:
    """Replace the job's model at once by these values; raises OSError or MXNetError when the disk is full."""
    model = job.paths.model
    write_model(staging_folder(model), graph, arguments, states, job.hyperparameters.artifact_configuration())
    publish(model)
    _log.info('Saved checkpoint to "%s"', model / PARAMETERS)
