"""Where a job's training begins: a model, pre-trained weights, or random values."""

import logging
from pathlib import Path
from typing import Any

import mxnet as mx

from sagemaker_ssd.contract import Job
from sagemaker_ssd.contract.weight_store import required_weights
from sagemaker_ssd.model.parameters import Parameters, initial_parameters
from sagemaker_ssd.worker.incremental import continued
from sagemaker_ssd.worker.pretrained import from_channel, from_installed_weights

_log = logging.getLogger(__name__)


def starting_point(job: Job, graph: mx.sym.Symbol, scratch: Path) -> tuple[Parameters, dict[str, Any]]:
    """Return the values of every parameter before the first step, and for metrics.json where they came from.

    graph: the network as it is saved. scratch: folder for temporary files. Raises UserError.
    """
    chosen = job.hyperparameters
    starting = initial_parameters(graph, chosen.image_shape, chosen.seed)
    if job.model_channel is not None:
        return continued(job.model_channel, starting, chosen, scratch)
    if job.pretrained_channel is not None:
        return from_channel(job.pretrained_channel, starting, chosen.base_network)
    if chosen.use_pretrained_model:
        # Without weights the job was let in for its checkpoints, of which none can be used.
        return from_installed_weights(job.weights or required_weights(chosen.base_network), starting)
    _log.info("Start training from scratch, seed %d.", chosen.seed)
    return starting, {"from": "scratch", "seed": chosen.seed}
