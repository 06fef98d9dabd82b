"""A part of check-gpu in a process of its own, which MXNet may crash and the parent may kill: `part PLAN`.

The last line that it prints has its findings. A process of its own also gives back all memory of a card at its end.
"""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import mxnet as mx

from sagemaker_ssd.check_gpu.checks import (
    CLASSES,
    OBJECTS,
    OPTIMIZERS,
    SGD,
    check_frozen,
    compare_detections,
    compare_over_hosts,
    compare_steps,
    compare_together,
    compare_updates,
    drawn_batch,
    drawn_parameters,
    measure_gradients,
    step_over_hosts,
)
from sagemaker_ssd.check_gpu.findings import Finding, to_json
from sagemaker_ssd.check_gpu.measurements import input_speed, training_speed
from sagemaker_ssd.check_gpu.plan import Plan
from sagemaker_ssd.cores import usable_cores
from sagemaker_ssd.native_faults import end_at_native_faults
from sagemaker_ssd.ssd.graphs import training_graph
from sagemaker_ssd.ssd.initial_values import fixed_gammas
from sagemaker_ssd.ssd.network import Network
from sagemaker_ssd.training.trainer import Trainer
from sagemaker_ssd.training.updates import connect
from sagemaker_ssd.worker.failures import explain

_GIB: Final = 1 << 30
# Detections of all classes sort and suppress by class and image: more of both than the other checks have.
_DETECTED_CLASSES: Final = 20
_DETECTED_IMAGES: Final = 8
# What is left of a card's memory for a batch that needs several times as much.
_LEFT_BYTES: Final = _GIB
_BALLAST_BYTES: Final = 256 << 20
# What a batch that cannot fit may find on a CPU beyond what the process holds by then.
_LEFT_BYTES_ON_CPU: Final = 128 << 20


def _contexts(plan: Plan) -> list[mx.Context]:
    kinds = (device.rstrip(")").split("(") for device in plan.devices)
    return [mx.Context(kind, int(number)) for kind, number in kinds]


def _architecture(plan: Plan) -> Network:
    return Network(plan.network, plan.image_shape, CLASSES)


def _network(plan: Plan) -> Iterator[Finding]:
    network, devices, reference = _architecture(plan), _contexts(plan), mx.cpu()
    # The same processor has no rounding of its own.
    batches = 1 if devices[0].device_type == "cpu" else 3
    yield from compare_steps(network, devices, reference, images=plan.images, batches=batches)
    for device in devices:
        yield check_frozen(network, device, images=plan.images)
    yield from compare_detections(network, devices, reference, images=plan.images)
    many = replace(network, num_classes=_DETECTED_CLASSES)
    yield from compare_detections(many, devices, reference, images=_DETECTED_IMAGES, all_classes=True)


def _tf32(plan: Plan) -> Iterator[Finding]:
    """Make a step without the variables that the comparisons run with."""
    (device,) = _contexts(plan)
    yield measure_gradients(_architecture(plan), device, mx.cpu(), images=plan.images)


def _optimizers(plan: Plan) -> Iterator[Finding]:
    for device in _contexts(plan):
        for name in OPTIMIZERS:
            yield compare_updates(name, device, mx.cpu())


def _together(plan: Plan) -> Iterator[Finding]:
    yield from compare_together(_architecture(plan), _contexts(plan))


def _host(plan: Plan) -> Iterator[Finding]:
    """A process of several that share the devices and exchange gradients by MXNet's parameter server."""
    network, devices = _architecture(plan), _contexts(plan)
    store = connect("dist_sync", gpus=devices[0].device_type == "gpu")
    trainer, data, label = step_over_hosts(network, devices, plan.rank, store)
    if plan.rank == 0:
        yield compare_over_hosts(network, devices, trainer, data, label)


def _trainer(plan: Plan, images: int) -> Trainer:
    network = _architecture(plan)
    graph, parameters = training_graph(network, empty_images=True), drawn_parameters(network)
    trainer = Trainer(
        graph,
        _contexts(plan),
        SGD,
        batch_size=images,
        image_shape=plan.image_shape,
        max_objects=OBJECTS,
        frozen=fixed_gammas(graph),
    )
    trainer.load(parameters.arguments, parameters.states)
    return trainer


def _endless(plan: Plan) -> Iterator[Finding]:
    """Train until the parent kills this process in the middle of a step."""
    trainer, batch = _trainer(plan, plan.images), drawn_batch(_architecture(plan), plan.images, 0)
    while True:
        trainer.step(*batch, 1e-6).read()
        print("a step is done", flush=True)
    yield


def _probe(plan: Plan) -> Iterator[Finding]:
    """Say how much of every card is free, and whether it still computes as the CPU does."""
    for device in _contexts(plan):
        free = "unknown"
        if device.device_type == "gpu":
            # Before anything but this process's own context is on the card.
            mx.nd.zeros(1, ctx=device).wait_to_read()
            free = str(mx.context.gpu_memory_info(device.device_id)[0])
        yield Finding("free bytes", str(device), free)
    for device in _contexts(plan):
        values = mx.nd.array(range(64)).reshape((8, 8))
        expected, found = (mx.nd.dot(of, of).asnumpy() for of in (values, values.as_in_context(device)))
        same = bool((abs(expected - found) <= 1e-5 * abs(expected).max()).all())
        yield Finding("it computes", str(device), "as the CPU" if same else "something else", "as the CPU", same)


def _exhaust(plan: Plan) -> Iterator[Finding]:
    """Train with a batch that cannot fit, and report the sentence that a job would end with."""
    (device,) = _contexts(plan)
    batch = max(plan.batches)
    gpu = device.device_type == "gpu"
    kept = []
    if gpu:
        while mx.context.gpu_memory_info(device.device_id)[0] > _LEFT_BYTES + _BALLAST_BYTES:
            kept.append(mx.nd.zeros(_BALLAST_BYTES // 4, ctx=device))
            kept[-1].wait_to_read()
    else:
        # Loads what MXNet loads late, so that the limit hits the batch.
        mx.nd.dot(mx.nd.ones((64, 64)), mx.nd.ones((64, 64))).wait_to_read()
        held = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData"))  # noqa: PTH123, SIM115
        resource.setrlimit(resource.RLIMIT_DATA, (held + _LEFT_BYTES_ON_CPU, resource.RLIM_INFINITY))
    workload = f"{plan.network}, image_shape {plan.image_shape}, mini_batch_size {batch} on {device}"
    wanted = f"the {'GPU' if gpu else 'machine'} ran out of memory with {workload}"
    said = "it fitted"
    try:
        _trainer(plan, batch).step(*drawn_batch(_architecture(plan), batch, 0), 1e-6).read()
    # MXNetError is a RuntimeError, and binding makes one of it.
    except (RuntimeError, MemoryError) as error:
        said = explain(error, workload, batch // 2).sentence
    if not gpu:
        resource.setrlimit(resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    yield Finding("a batch that cannot fit", str(device), said[:200], f"{wanted} ...", said.startswith(wanted))


def _speed(plan: Plan) -> Iterator[Finding]:
    (device,) = _contexts(plan)
    network = _architecture(plan)
    yield from training_speed(network, device, plan.batches, seconds=plan.seconds, within=plan.within, tuned=plan.tuned)


def _input(plan: Plan) -> Iterator[Finding]:
    speed = input_speed(plan.image_shape, batch_size=plan.images, seconds=plan.seconds)
    yield Finding(f"input at {plan.image_shape} px", f"{usable_cores()} cores", f"{speed:.1f} images/s")


def _about(plan: Plan) -> Iterator[Finding]:
    """Say what MXNet is and how many cards it sees."""
    yield Finding("GPUs that MXNet sees", "", str(mx.context.num_gpus()))
    features = mx.runtime.Features()
    built = [name for name in ("CUDA", "CUDNN", "NCCL", "TENSORRT", "ONEDNN", "MKLDNN") if name in features]
    on = ", ".join(name for name in built if features.is_enabled(name))
    yield Finding("MXNet", "", f"{mx.__version__}, built with {on or 'none of CUDA, cuDNN and oneDNN'}")


PARTS: Final[dict[str, Callable[[Plan], Iterator[Finding]]]] = {
    "about": _about,
    "network": _network,
    "tf32": _tf32,
    "optimizers": _optimizers,
    "together": _together,
    "host": _host,
    "endless": _endless,
    "probe": _probe,
    "exhaust": _exhaust,
    "speed": _speed,
    "input": _input,
}


def main() -> None:
    """Do the part and leave at once: MXNet waits for other processes at the interpreter's end."""
    end_at_native_faults()
    plan = Plan.from_json(sys.argv[1])
    if plan.memory is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (plan.memory, resource.RLIM_INFINITY))
    findings = list(PARTS[plan.part](plan))
    print(to_json(findings), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
