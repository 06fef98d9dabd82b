"""SageMaker's hosting contract: what an endpoint's and a batch transform's environment variables say."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sagemaker_ssd.contract.environment import BEST_CLASS, DETECTIONS, read_threads, read_whole_number
from sagemaker_ssd.errors import UserError, is_text, problems, shown

# Where the platform unpacks model.tar.gz, below the base folder.
MODEL_FOLDER: Final = "model"
# The platform's own variables. Endpoints behind an inference pipeline, and those of several containers, name the port.
BIND_VARIABLE: Final = "SAGEMAKER_BIND_TO_PORT"
DEFAULT_PORT: Final = 8080
# "true" in a batch transform, "True" in that of the SDK's local mode.
BATCH_VARIABLE: Final = "SAGEMAKER_BATCH"
PAYLOAD_VARIABLE: Final = "SAGEMAKER_MAX_PAYLOAD_IN_MB"
# "true" in a multi-model endpoint.
MULTI_MODEL_VARIABLE: Final = "SAGEMAKER_MULTI_MODEL"
# How many processes detect; the name that SageMaker's own toolkits use, which the SDK's `model_server_workers` sets.
WORKERS_VARIABLE: Final = "SAGEMAKER_MODEL_SERVER_WORKERS"
# This program's own: the least score of a row; which classes of an anchor are detected; names of the classes by their
# ids.
SCORE_VARIABLE: Final = "SAGEMAKER_SSD_SCORE"
DETECTIONS_VARIABLE: Final = "SAGEMAKER_SSD_DETECTIONS"
CLASS_NAMES_VARIABLE: Final = "SAGEMAKER_SSD_CLASS_NAMES"
# How long the platform waits for an answer, in seconds, where that is not its default: asynchronous endpoints wait up
# to an hour, and nothing tells the container that it is one; in a batch transform InvocationsTimeoutInSeconds says it.
ANSWER_VARIABLE: Final = "SAGEMAKER_SSD_ANSWER_SECONDS"

_MEGABYTE: Final = 1 << 20
# What is meant as a list or an object, of JSON or of Python, and not as names with such marks.
_JSON_STARTS: Final = ("[", "{", "(", '"', "'")
# The platform's own limits are 25 MB for an endpoint (it was 6 MB, as in botocore's BodyBlob), 4 MB for a serverless
# one, and 100 MB for a batch transform and for 0, "no limit"; those of asynchronous endpoints are set by the variable.
_MAX_PAYLOAD: Final = 25 * _MEGABYTE
_MAX_PAYLOAD_IN_BATCH: Final = 100 * _MEGABYTE
# Twice the pixels of the largest phone's ordinary picture; decoded they take 300 MB, and as much again on the way.
MAX_PIXELS: Final = 100_000_000
# How long the platform waits for an answer where the variable is not set, in seconds.
_ANSWER_SECONDS: Final = 60.0
_ANSWER_SECONDS_IN_BATCH: Final = 600.0
_POSSIBLE_ANSWER_SECONDS: Final = range(1, 3601)


@dataclass(frozen=True)
class HostingSettings:
    """How to host a model.

    port: where to listen. multi_model: whether the platform loads and unloads models, instead of the one below /opt/ml.
    batch: whether a batch transform asks. local_mode: whether that of the SDK on a laptop does.
    max_payload: the most bytes of a request's body; payload_given: whether the environment sets it. answer_seconds:
    after which the platform does not wait for an answer any more. workers: processes that detect, None for as many as
    there are devices. score: the least score of a detection that is answered. detections: one of DETECTIONS.
    class_names: by class id, () for none.
    """

    port: int = DEFAULT_PORT
    multi_model: bool = False
    batch: bool = False
    local_mode: bool = False
    max_payload: int = _MAX_PAYLOAD
    payload_given: bool = False
    answer_seconds: float = _ANSWER_SECONDS
    workers: int | None = None
    score: float = 0.0
    detections: str = BEST_CLASS
    class_names: Sequence[str] = ()


def read_hosting_port(environment: Mapping[str, str]) -> int:
    """Read the port alone, since a fault of the other variables is told on it; raises UserError."""
    faults: list[str] = []
    port = _whole_number(environment, BIND_VARIABLE, range(1, 65_536), faults)
    if faults:
        raise UserError(problems(faults))
    return port or DEFAULT_PORT


def read_hosting_settings(environment: Mapping[str, str]) -> HostingSettings:
    """Read the variables of an endpoint or a batch transform; raises UserError with all faults."""
    faults: list[str] = []
    port = _whole_number(environment, BIND_VARIABLE, range(1, 65_536), faults)
    batch = environment.get(BATCH_VARIABLE, "").strip()
    in_batch = batch.lower() == "true"
    megabytes = _whole_number(environment, PAYLOAD_VARIABLE, range(0, 4097), faults)
    answer_seconds = _whole_number(environment, ANSWER_VARIABLE, _POSSIBLE_ANSWER_SECONDS, faults)
    default_seconds = _ANSWER_SECONDS_IN_BATCH if in_batch else _ANSWER_SECONDS
    default_payload = _MAX_PAYLOAD_IN_BATCH if in_batch else _MAX_PAYLOAD
    settings = HostingSettings(
        port=port or DEFAULT_PORT,
        multi_model=environment.get(MULTI_MODEL_VARIABLE, "").strip().lower() == "true",
        batch=in_batch,
        local_mode=batch == "True",
        max_payload=default_payload if megabytes is None else megabytes * _MEGABYTE or _MAX_PAYLOAD_IN_BATCH,
        payload_given=megabytes is not None,
        answer_seconds=answer_seconds or default_seconds,
        workers=_whole_number(environment, WORKERS_VARIABLE, range(1, 257), faults),
        score=_score(environment, faults),
        detections=_detections(environment, faults),
        class_names=_class_names(environment, faults),
    )
    try:
        read_threads(environment)
    except UserError as error:
        faults.append(error.sentence)
    if faults:
        raise UserError(problems(faults))
    return settings


def _whole_number(environment: Mapping[str, str], variable: str, allowed: range, faults: list[str]) -> int | None:
    try:
        return read_whole_number(environment, variable, allowed)
    except UserError as error:
        faults.append(error.sentence)
        return None


def _score(environment: Mapping[str, str], faults: list[str]) -> float:
    text = environment.get(SCORE_VARIABLE, "").strip()
    if not text:
        return 0.0
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if 0 <= score <= 1:
        return score
    faults.append(f"environment variable {SCORE_VARIABLE} is {shown(text)}; it must be a number from 0 to 1")
    return 0.0


def _detections(environment: Mapping[str, str], faults: list[str]) -> str:
    text = environment.get(DETECTIONS_VARIABLE, "").strip()
    if not text or text in DETECTIONS:
        return text or BEST_CLASS
    faults.append(f"environment variable {DETECTIONS_VARIABLE} is {shown(text)}; it must be {' or '.join(DETECTIONS)}")
    return BEST_CLASS


def _class_names(environment: Mapping[str, str], faults: list[str]) -> Sequence[str]:
    """Read `cat,dog`, or a JSON list where a name has a comma, with its brackets or without."""
    text = environment.get(CLASS_NAMES_VARIABLE, "").strip()
    if not text:
        return ()
    names: object = [name.strip() for name in text.split(",")]
    # Python's tuple too; `(none),cat` are names.
    if text.startswith(_JSON_STARTS) and (text[0] != "(" or text[-1] == ")"):
        try:
            names = json.loads(f"[{text}]" if text.startswith('"') else text)
        except (ValueError, RecursionError):
            names = None
    if isinstance(names, list) and names and all(isinstance(name, str) and name.strip() for name in names):
        if all(map(is_text, names)):
            return tuple(names)
        faults.append(
            f"environment variable {CLASS_NAMES_VARIABLE} is {shown(text)}; its names must be text in UTF-8, without "
            "bytes of another encoding and without half a character such as \\ud83d"
        )
        return ()
    faults.append(
        f"environment variable {CLASS_NAMES_VARIABLE} is {shown(text)}; it must name every class by its id, as in "
        'cat,dog or ["cat", "dog"], without an empty name'
    )
    return ()
