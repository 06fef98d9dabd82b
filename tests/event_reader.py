"""What TensorBoard's own reader finds in a folder of event files."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

# 0: all of them, not a sample.
EVERYTHING = {"scalars": 0, "images": 0}


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) by tag, as they come."""
    read = EventAccumulator(str(folder), size_guidance=EVERYTHING).Reload()
    return {tag: [(event.step, event.value) for event in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def pictures(folder: Path) -> dict[str, list[tuple[int, bytes]]]:
    """Return (step, JPEG) by tag, as they come."""
    read = EventAccumulator(str(folder), size_guidance=EVERYTHING).Reload()
    tags = read.Tags()["images"]
    return {tag: [(event.step, event.encoded_image_string) for event in read.Images(tag)] for tag in tags}


def assert_curves(base: Path, metrics: dict, class_names: list[str]) -> None:
    """The files of a job below `base` say of every epoch, once, what its metrics.json says."""
    found = curves(base / "output" / "tensorboard")
    expected: dict[str, list[float]] = {}
    for epoch in metrics["epochs"]:
        train, validation = epoch["train"], epoch["validation"]
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
        named |= {
            f"average precision/{class_names[one['class_id']]}": one["average_precision"]
            for one in validation["classes"]
            # A class without objects has no curve.
            if one["average_precision"] is not None
        }
        for tag, value in named.items():
            expected.setdefault(tag, []).append(value)
    assert found.keys() == expected.keys()
    for tag, values in expected.items():
        assert [step for step, _ in found[tag]] == list(range(len(values))), tag
        for (_, value), number in zip(found[tag], values, strict=True):
            # Event files hold float32.
            assert abs(value - number) <= 1e-6 * max(1, abs(number)), tag
