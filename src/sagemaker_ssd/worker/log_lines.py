"""The lines that SageMaker's metric definitions and the users of the built-in read, letter for letter.

Source of every format: logs of real jobs of the built-in algorithm.
"""

import datetime


def cross_entropy(host: str, epoch: int, batches: int, value: float) -> str:
    """Return the epoch's classification loss."""
    return f"#quality_metric: host={host}, epoch={epoch}, batch={batches} train cross_entropy <loss>=({value})"


def smooth_l1(host: str, epoch: int, batches: int, value: float) -> str:
    """Return the epoch's location loss."""
    return f"#quality_metric: host={host}, epoch={epoch}, batch={batches} train smooth_l1 <loss>=({value})"


def validation_map(host: str, epoch: int, value: float) -> str:
    """Return the epoch's mAP; users cut it out between the line's first and last parenthesis."""
    return f"#quality_metric: host={host}, epoch={epoch}, validation mAP <score>=({value})"


def progress(host: str, epochs_done: int, epochs: int) -> str:
    """Return how much of the job is done."""
    return f"#progress_metric: host={host}, completed {100.0 * epochs_done / epochs} % of epochs"


def throughput(host: str, images: int, seconds: float) -> str:
    """Return the epoch's training speed, for a metric that the built-in declares and never prints."""
    return f"#throughput_metric: host={host}, train throughput={images / seconds} records/second"


def batches(epoch: int, count: int, images: int, seconds: float, left: float) -> str:
    """Return how far an epoch is; `seconds` since its start, `left` until its end."""
    passed, remaining = datetime.timedelta(seconds=seconds), datetime.timedelta(seconds=round(left))
    return (
        f"Epoch: {epoch:4d}, batches: {count:6d}, num_examples: {images:6d}, {images / seconds:.1f} samples/sec, "
        f"epoch time so far:  {passed}, epoch time left: {remaining}"
    )
