"""The detections of a network on a checked channel, as COCO's results."""

from typing import Any, Final

from sagemaker_ssd.data import RecordFile, evaluation_batches
from sagemaker_ssd.detection.rounding import corners_to_box, written_score
from sagemaker_ssd.engine.detector import Detector

# Of each image as many as COCO looks at; of many images fewer, since pycocotools takes 3 kB for each.
_OF_AN_IMAGE: Final = 100
_IN_ALL: Final = 300_000


def coco_results(
    detector: Detector,
    file: RecordFile,
    truth: dict[str, Any],
    *,
    batch_size: int,
    image_shape: int,
    mean: tuple[float, float, float],
    threads: int,
) -> list[dict[str, Any]]:
    """Detect on every image; return the best of each, by falling score: 100, fewer of more than 3,000 images.

    truth: the file's own, whose images tell their sizes.
    """
    results: list[dict[str, Any]] = []
    kept = max(1, min(_OF_AN_IMAGE, _IN_ALL // file.images))
    images = iter(truth["images"])
    batches = evaluation_batches(file, batch_size=batch_size, image_shape=image_shape, mean=mean, threads=threads)
    for batch in batches:
        for detections in detector.detect(batch.data):
            image = next(images)
            for class_id, score, *corners in detections[:kept].tolist():
                box = corners_to_box(corners, image["width"], image["height"])
                results.append(
                    {
                        "image_id": image["id"],
                        "category_id": int(class_id),
                        "bbox": box,
                        "score": written_score(score),
                    }
                )
    return results
