"""Event files for TensorBoard in output/tensorboard: every epoch's figures, and pictures of detections now and then.

The folder is the local path that SageMaker's TensorBoardOutputConfig names unless it is told another; SageMaker
uploads it while the job runs. The step of every figure is its epoch, counted from 0 as in the log.
"""

import contextlib
import io
import itertools
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sagemaker_ssd.channels.record_file import RecordFile
from sagemaker_ssd.report.analysis import analyse
from sagemaker_ssd.report.pictures import best_images, captioned_picture, false_detections, missed_objects
from sagemaker_ssd.report.wording import plain
from sagemaker_ssd.scoring.coco import coco_ground_truth, coco_results, to_coco_rows
from sagemaker_ssd.scoring.saved_model import read_picture

if TYPE_CHECKING:
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto.event_pb2 import Event

_log = logging.getLogger(__name__)

# TensorBoard keeps ten pictures of a tag unless it is asked for more (--samples_per_plugin).
_SETS_OF_PICTURES: Final = 10
_OF_A_KIND: Final = 3
# The images of validation that pictures are chosen from, evenly spread; and the detections of each that are looked at.
_SAMPLED_IMAGES: Final = 500
_SAMPLED_DETECTIONS: Final = 100
_JPEG_QUALITY: Final = 85
# Numbers the files of this process, since a name has nothing finer than a second.
_files = itertools.count()


class PictureSample:
    """The detections on evenly chosen images of validation after one epoch, from which pictures are drawn."""

    def __init__(self, file: RecordFile) -> None:
        chosen = np.linspace(0, file.images - 1, min(file.images, _SAMPLED_IMAGES)).round().astype(int)
        self.file, self._chosen = file, frozenset(chosen.tolist())
        self._found: dict[int, NDArray[np.float32]] = {}
        self._left_out: float | None = None

    def add(self, number: int, detections: NDArray[np.float32]) -> None:
        """Keep the detections of an image if it is a chosen one; (D, 6), sorted by falling score."""
        if number in self._chosen:
            self._found[number] = detections[:_SAMPLED_DETECTIONS].copy()
            if len(detections) > _SAMPLED_DETECTIONS:
                self._left_out = max(self._left_out or 0.0, float(detections[_SAMPLED_DETECTIONS, 1]))

    def pictures(self, class_names: Sequence[str], overlap_threshold: float) -> Iterator[tuple[str, Image.Image]]:
        """Yield the pictures that tell most, with their tags: best images, wrong detections, missed objects."""
        ground_truth = coco_ground_truth(self.file, class_names, sorted(self._found))
        detections = {
            image["id"]: to_coco_rows(self._found[image["id"]], image["width"], image["height"])
            for image in ground_truth["images"]
        }
        analysis = analyse(ground_truth, coco_results(detections), overlap_threshold, left_out=self._left_out)
        wrong = false_detections(analysis)[:_OF_A_KIND]
        kinds = {
            "best": best_images(analysis)[:_OF_A_KIND],
            "worst, wrong": wrong,
            "worst, missed": missed_objects(analysis, {each.image for each in wrong})[:_OF_A_KIND],
        }
        for kind, choices in kinds.items():
            for place, choice in enumerate(choices, 1):
                image = read_picture(self.file, analysis.validation.images[choice.image].image_id)
                yield f"{kind}/{place}", captioned_picture(analysis, choice, image)


def has_pictures(epoch: int, epochs: int) -> bool:
    """Say whether pictures are drawn after an epoch, so that a job of so many has about ten sets of them."""
    return epoch % max(1, -(-epochs // _SETS_OF_PICTURES)) == 0 or epoch == epochs - 1


class TensorBoard:
    """Writes the event files of a job; what goes wrong is a warning, and the next epoch tries again.

    A file of figures begins with the whole history and tells TensorBoard to forget what other files say of it, so that
    the curves are whole after a resumption, with the earlier files or without them. TensorBoard's own server forgets
    only the curves that are written anew: those that an earlier job alone had stay in its folder. Pictures cannot be
    written again: they are a run of their own, `pictures`, where a file takes the place of the others from its first
    epoch on.
    """

    def __init__(self, folder: Path, class_names: Sequence[str], overlap_threshold: float) -> None:
        self._figures, self._pictures = _EventFile(folder), _EventFile(folder / "pictures")
        self._class_names, self._overlap_threshold = class_names, overlap_threshold
        self._written = 0
        # Whether it is known that nothing can be written at present.
        self._failing = False

    def write(self, epochs: Sequence[Mapping[str, Any]], sample: PictureSample | None) -> None:
        """Write what is not yet written of the epochs, which are those of metrics.json, and pictures of the last one.

        sample: None where no pictures are wanted.
        """
        try:
            for number in range(self._written, len(epochs)):
                self._figures.add(number, list(_figures(epochs[number], self._class_names)), purge_from=0)
            self._figures.flush()
            self._written = len(epochs)
            if sample is not None:
                last = len(epochs) - 1
                self._pictures.add(last, self._drawn(sample), purge_from=last)
                self._pictures.flush()
            self._failing = False
        # Whatever it is: curves are not worth a training.
        except Exception as error:
            self._written = 0
            self._figures.give_up()
            self._pictures.give_up()
            if not self._failing:
                _log.warning("The files for TensorBoard in %s could not be written: %s", self._figures.folder, error)
            self._failing = True

    def _drawn(self, sample: PictureSample) -> list[tuple[str, Any]]:
        """Return the pictures as JPEGs; those before one that cannot be drawn, which is a warning."""
        drawn: list[tuple[str, Any]] = []
        try:
            for tag, picture in sample.pictures(self._class_names, self._overlap_threshold):
                drawn.append((tag, _jpeg(picture)))
        except Exception as error:
            _log.warning("A picture for TensorBoard could not be drawn: %s", error, exc_info=True)
        return drawn


class _EventFile:
    """An event file that is made when it is first needed, and anew after it was given up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: EventsWriter | None = None

    def add(self, step: int, values: Sequence[tuple[str, Any]], *, purge_from: int) -> None:
        """Append figures or JPEGs, each with its tag; purge_from: the step from which a new file replaces others."""
        # Not before: it takes part of a second.
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        if self._writer is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._writer = EventsWriter(str(self.folder / "events"), f".{os.getpid()}.{next(_files)}")
            start = SessionLog(status=SessionLog.START)
            self._writer.write_event(Event(wall_time=time.time(), step=purge_from, session_log=start))
        self._writer.write_event(_event(step, values))

    def flush(self) -> None:
        """Write what is buffered to the disk."""
        if self._writer is not None:
            self._writer.flush()

    def give_up(self) -> None:
        """Close the file, whatever becomes of what is buffered."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError, ValueError):
                writer.close()


def _event(step: int, values: Sequence[tuple[str, Any]]) -> "Event":
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary

    written = [
        Summary.Value(tag=tag, image=Summary.Image(**value))
        if isinstance(value, dict)
        else Summary.Value(tag=tag, simple_value=value)
        for tag, value in values
    ]
    return Event(wall_time=time.time(), step=step, summary=Summary(value=written))


def _figures(epoch: Mapping[str, Any], class_names: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield the figures of an epoch of metrics.json with their tags; those that are unknown are left out."""
    train, validation = epoch["train"], epoch["validation"]
    # A tag is UTF-8, which a name with half a character is not.
    shown = [plain(name) for name in class_names]
    named = {
        "train/cross_entropy": train["cross_entropy"],
        "train/smooth_l1": train["smooth_l1"],
        "train/learning_rate": epoch["learning_rate"],
        "speed/images_per_second": train["images_per_second"],
        "speed/seconds": train["seconds"],
        "speed/seconds_waiting_for_data": train["seconds_waiting_for_data"],
        "validation/mAP": validation["mAP"],
        "validation/mAP_all_points": validation["mAP_all_points"],
        "validation/mAP_coco": validation["mAP_coco"],
    }
    for of_class in validation["classes"]:
        number = of_class["class_id"]
        name = shown[number]
        # Two classes may have one name.
        unique = name if shown.count(name) == 1 else f"{name} ({number})"
        named[f"average precision/{unique}"] = of_class["average_precision"]
    for tag, value in named.items():
        if value is not None:
            yield tag, float(value)


def _jpeg(picture: Image.Image) -> dict[str, Any]:
    """Return the fields of TensorBoard's image; colorspace 3 is RGB."""
    coded = io.BytesIO()
    picture.save(coded, "JPEG", quality=_JPEG_QUALITY)
    return {
        "height": picture.height,
        "width": picture.width,
        "colorspace": 3,
        "encoded_image_string": coded.getvalue(),
    }
