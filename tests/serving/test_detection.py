"""The queue before a real process that detects: what it learns of the time of an image."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest

from drawn_channels import encoded
from sagemaker_ssd.contract.hosting import read_hosting_settings
from sagemaker_ssd.serving.detection import Detection, Devices, Model, QueuedImage, RefusedError

READY_SECONDS = 120


async def started(detection: Detection) -> int:
    """Start one process, wait until it can be asked, and return its id."""
    detection.start(Devices([None], 1))
    async with asyncio.timeout(READY_SECONDS):
        while detection.state != "ready":
            assert detection.failure is None
            await asyncio.sleep(0.05)
    process = detection._slots[0].process
    assert process is not None
    return process.pid


async def while_held(process: int, seconds: float, begin: Callable[[], Awaitable[QueuedImage]]) -> None:
    """Hold the process for a while with what `begin` gives it to do, and wait for the image."""
    os.kill(process, signal.SIGSTOP)
    try:
        image = await begin()
        await asyncio.sleep(seconds)
    finally:
        os.kill(process, signal.SIGCONT)
    assert (await image.result).rows


def test_one_image_that_took_long_does_not_make_the_server_refuse_all_that_come(base: Path, jpeg: bytes):
    """Held for six seconds where nobody waits longer than half a second."""

    async def run() -> None:
        model = Model("", base / "model")
        detection = Detection(0.5, model)
        try:
            process = await started(detection)

            async def begin() -> QueuedImage:
                return detection.submit(model, jpeg)

            await while_held(process, 6, begin)
            assert model.seconds <= 0.5
            for _ in range(3):
                assert (await detection.submit(model, jpeg).result).rows
            # One more than the process can have at once is too many all the same, where each takes half a second.
            model.seconds = 0.5
            detection.submit(model, jpeg)
            with pytest.raises(RefusedError, match="too many requests: 1 image is ahead"):
                detection.submit(model, jpeg)
        finally:
            await detection.close()

    asyncio.run(run())


def test_an_image_whose_decoding_ends_the_process_leaves_its_neighbour(base: Path, jpeg: bytes):
    """Whatever process decodes the first one is killed; the other one is with it each time."""
    large = encoded(np.zeros((7000, 7000, 3), np.uint8))

    async def run() -> None:
        model = Model("", base / "model")
        detection = Detection(60.0, model)
        try:
            await started(detection)
            first, second = detection.submit(model, large), detection.submit(model, jpeg)
            killed: list[int] = []
            while not first.result.done():
                process = detection._slots[0].process
                if first.stage == "decoding" and process is not None and process.pid not in killed:
                    killed.append(process.pid)
                    os.kill(process.pid, signal.SIGKILL)
                await asyncio.sleep(0.001)
            with pytest.raises(RefusedError, match=r"killed by signal 9 \(SIGKILL\).*send smaller images") as refused:
                first.result.result()
            assert (refused.value.status, len(killed)) == (500, 1)
            assert (await second.result).rows
        finally:
            await detection.close()

    asyncio.run(run())


def test_an_asynchronous_endpoint_takes_what_is_answered_within_its_own_time(base: Path, jpeg: bytes):
    settings = read_hosting_settings({"SAGEMAKER_SSD_ANSWER_SECONDS": "900"})

    async def run() -> None:
        model = Model("", base / "model")
        detection = Detection(settings.answer_seconds, model)
        try:
            process = await started(detection)
            # None is answered while they come, and each is expected to take ten seconds.
            os.kill(process, signal.SIGSTOP)
            model.seconds = 10.0
            for _ in range(90):
                detection.submit(model, jpeg)
            with pytest.raises(RefusedError) as refused:
                detection.submit(model, jpeg)
            assert refused.value.sentence.startswith(
                "too many requests: 90 images are ahead, so that an answer would take about 910 seconds, and nobody "
                "waits longer than 900 (SAGEMAKER_SSD_ANSWER_SECONDS sets that)"
            )
        finally:
            await detection.close()

    asyncio.run(run())


def test_a_model_that_could_not_be_loaded_is_not_counted_as_the_next_images_time(base: Path, jpeg: bytes):
    async def run() -> None:
        model = Model("a", base / "model")
        detection = Detection(60.0, None)
        try:
            process = await started(detection)
            await detection.load(model)
            before = model.seconds
            tasks = []

            async def begin() -> QueuedImage:
                tasks.append(asyncio.create_task(detection.load(Model("b", base / "nowhere"))))
                await asyncio.sleep(0.2)
                return detection.submit(model, jpeg)

            await while_held(process, 10, begin)
            with pytest.raises(RefusedError, match="there is no such folder"):
                await tasks[0]
            # The newest image counts a fifth: ten seconds would add two.
            assert model.seconds - before < 1.4
        finally:
            await detection.close()

    asyncio.run(run())
