"""Speed and memory of training on one card, and of the input of this machine."""

import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import cv2
import mxnet as mx
import numpy as np

from sagemaker_ssd.batches.reader import LoaderOptions, TrainingLoader, padded_labels
from sagemaker_ssd.channels.check import check_recordio
from sagemaker_ssd.channels.findings import CheckOptions
from sagemaker_ssd.check_gpu.checks import CLASSES, SGD, drawn_batch
from sagemaker_ssd.check_gpu.findings import Finding
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.errors import exhausted_memory
from sagemaker_ssd.ssd.graphs import saved_graph, training_graph
from sagemaker_ssd.ssd.initial_values import fixed_gammas, initial_parameters
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.trainer import Trainer

_GIB: Final = 1 << 30
_WARMING_STEPS, _MEASURED_STEPS = 2, 2
_LEAST_STEPS: Final = _WARMING_STEPS + _MEASURED_STEPS
_MOST_STEPS: Final = 30
# The largest batches at 300 pixels on a card of 16 GB (ml.p3.2xlarge), by the algorithm's documentation.
DOCUMENTED: Final = {"resnet-50": 32, "vgg-16": 64}
# Of 16 GB the driver leaves a little less.
_DOCUMENTED_CARD: Final = 15 * _GIB
# Labels are padded to the objects of a channel's most crowded image, and memory grows with them. COCO's has 93.
OBJECTS_OF_A_CROWDED_IMAGE: Final = 100
# What the input is drawn for: photos as they come from a phone's preview.
_PHOTO: Final = (480, 640)
_PHOTOS: Final = 64


def training_speed(
    network: Network, device: mx.Context, batches: Sequence[int], *, seconds: float, within: float, tuned: bool = False
) -> Iterator[Finding]:
    """Measure images/s and memory of training with each batch size, the smallest first, until one does not fit.

    seconds: for each. within: none begins that would not be done in so many seconds, by the speed of the one before.
    Where the card is one that the documentation speaks of, its batch has to fit. tuned: as of `Plan`, of the variables
    that this process runs with.
    """
    where = f"{network.base_network} at {network.image_shape} px on {device}"
    where += ", algorithms tried out" if tuned else ""
    largest, begin, complete = 0, time.monotonic(), True
    seconds_of_an_image = 0.0
    for batch in sorted(batches):
        if time.monotonic() - begin + _LEAST_STEPS * batch * seconds_of_an_image > within:
            complete = False
            yield Finding(f"batch {batch}", where, "left out: the time was over")
            continue
        try:
            speed = _speed(network, device, batch, seconds)
        # MXNetError is a RuntimeError, and binding makes one of it.
        except (RuntimeError, MemoryError) as error:
            if exhausted_memory(error) is None:
                raise
            yield Finding(f"batch {batch}", where, "does not fit into the memory")
            break
        largest, seconds_of_an_image = batch, 1 / speed
        yield Finding(f"batch {batch}", where, f"{speed:.1f} images/s, {_memory(device) / _GIB:.2f} GiB")
    if complete and not tuned and device.device_type == "gpu" and network.image_shape == 300:
        _, total = mx.context.gpu_memory_info(device.device_id)
        if total >= _DOCUMENTED_CARD:
            yield from judge_largest(network.base_network, batches, largest, where)


def judge_largest(base_network: str, batches: Sequence[int], largest: int, where: str) -> Iterator[Finding]:
    """Say whether the documented batch fits into a card of 16 GB, if it was among those that were tried.

    batches: the sizes, none of which the time left out. largest: of those that fit, 0 without any.
    """
    documented = DOCUMENTED[base_network]
    # Whether it fits does not follow from a smaller one that does and a larger one that does not.
    if documented in batches:
        text = f"largest of {', '.join(map(str, sorted(batches)))} that fits"
        yield Finding(text, where, str(largest), f"at least {documented}, as documented", largest >= documented)


def _speed(network: Network, device: mx.Context, batch: int, seconds: float) -> float:
    if device.device_type == "gpu":
        # What an earlier batch's arrays have left in MXNet's pool.
        device.empty_cache()
    graph = training_graph(network, empty_images=True)
    trainer = Trainer(
        graph,
        [device],
        SGD,
        batch_size=batch,
        image_shape=network.image_shape,
        max_objects=OBJECTS_OF_A_CROWDED_IMAGE,
        frozen=fixed_gammas(graph),
    )
    drawn = initial_parameters(saved_graph(network), network.image_shape, 0)
    trainer.load(drawn.arguments, drawn.states)
    data, drawn_label = drawn_batch(network, batch, 0)
    label = padded_labels(list(drawn_label), OBJECTS_OF_A_CROWDED_IMAGE)
    # Small enough that the losses stay finite, whatever the pixels are.
    rate = 1e-6
    for _ in range(_WARMING_STEPS):
        trainer.step(data, label, rate).read()
    mx.nd.waitall()
    begin, steps = time.monotonic(), 0
    while steps < _MEASURED_STEPS or (steps < _MOST_STEPS and time.monotonic() - begin < seconds):
        losses = trainer.step(data, label, rate)
        steps += 1
        # As in a job: the losses of a step are read while the next one is computed; here every second one.
        if steps % 2 == 0:
            losses.read()
    mx.nd.waitall()
    return steps * batch / (time.monotonic() - begin)


def _memory(device: mx.Context) -> float:
    """Return the bytes in use on a card, which MXNet's pool never gives back; of a CPU this process's peak."""
    if device.device_type == "gpu":
        free, total = mx.context.gpu_memory_info(device.device_id)
        return float(total - free)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def input_speed(image_shape: int, *, batch_size: int, seconds: float) -> float:
    """Return the images/s that this machine's cores decode and augment, from JPEGs of 640 x 480 in a RecordIO file."""
    chance = np.random.RandomState(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "photos.rec")
        writer = mx.recordio.MXRecordIO(str(path), "w")
        for number in range(_PHOTOS):
            coarse = chance.randint(0, 256, (_PHOTO[0] // 20, _PHOTO[1] // 20, 3), np.uint8)
            smooth = cv2.resize(coarse, _PHOTO[::-1], interpolation=cv2.INTER_CUBIC)
            image = cv2.imencode(".jpg", smooth, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
            label = [2, 5, number % CLASSES, 0.2, 0.2, 0.7, 0.8]
            writer.write(mx.recordio.pack(mx.recordio.IRHeader(0, label, number, 0), image))
        writer.close()
        checked = CheckOptions(
            name="photos", num_classes=CLASSES, scratch=Path(folder), max_bad_images=0, label_width=350
        )
        file = check_recordio(path, checked)
        options = LoaderOptions(batch_size, image_shape, (0.0, 0.0, 0.0), threads=usable_cores())
        loader = TrainingLoader(
            file, options, seed=0, order=lambda epoch: np.arange(_PHOTOS).repeat(4), epochs=range(1_000_000)
        )
        done, begin = 0, 0.0
        for epoch in range(1_000_000):
            for batch in loader.batches(epoch):
                # The first batches were decoded ahead.
                if not begin:
                    begin = time.monotonic()
                    continue
                done += len(batch.labels)
                if time.monotonic() - begin > seconds:
                    return done / (time.monotonic() - begin)
    raise AssertionError("unreachable")
