"""Average precision on random boxes: against plain Python, GluonCV's metric and COCO's own program."""

import numpy as np
import pytest

from sagemaker_ssd.scoring.average_precision import AveragePrecision, Scores

NO_DETECTIONS = np.zeros((0, 6))
FAR = [0.8, 0.8, 1.0, 1.0]


def score(images, num_classes, overlap_threshold=0.5) -> Scores:
    metric = AveragePrecision(num_classes, overlap_threshold)
    for detections, truth in images:
        metric.add(detections, truth)
    return metric.result()


def random_boxes(rng, count):
    corner = rng.uniform(0, 0.7, (count, 2))
    return np.hstack([corner, corner + rng.uniform(0.1, 0.3, (count, 2))])


def random_image(rng, num_classes, most_objects=8, stray=10):
    """Objects, some difficult; for each some detections nearby, mostly of its class; and stray ones."""
    count = int(rng.integers(0, most_objects + 1))
    truth = np.column_stack(
        [rng.integers(0, num_classes, count), random_boxes(rng, count), rng.random(count) < 0.2]
    ).astype(float)
    near = np.repeat(truth, rng.integers(0, 4, count), axis=0)
    near[:, 1:5] += rng.normal(0, 0.02, (len(near), 4))
    near[:, 0] = np.where(rng.random(len(near)) < 0.9, near[:, 0], rng.integers(0, num_classes, len(near)))
    loose = int(rng.integers(0, stray + 1))
    class_ids = np.concatenate([near[:, 0], rng.integers(-1, num_classes, loose)])
    boxes = np.vstack([near[:, 1:5], random_boxes(rng, loose)])
    # Two decimals: equal scores come often.
    detections = np.column_stack([class_ids, rng.random(len(boxes)).round(2), boxes])
    return detections[rng.permutation(len(detections))], truth


def plain_overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (both - width * height)


def plain_voc(images, class_id, threshold):
    """(11 points, all points) of a class, one detection after the other over the whole data set."""
    ranked = [(row, image) for image, (found, _) in enumerate(images) for row in found.tolist() if row[0] == class_id]
    ranked.sort(key=lambda pair: -pair[0][1])
    objects = [[row for row in truth.tolist() if row[0] == class_id] for _, truth in images]
    total = sum(1 for rows in objects for row in rows if not row[5])
    if not total:
        return None
    used, right, wrong, curve = set(), 0, 0, []
    for row, image in ranked:
        overlaps = [plain_overlap(row[2:], other[1:5]) for other in objects[image]]
        best = max(overlaps, default=0.0)
        index = overlaps.index(best) if overlaps else None
        if best >= threshold and objects[image][index][5]:
            continue
        if best >= threshold and (image, index) not in used:
            used.add((image, index))
            right += 1
        else:
            wrong += 1
        curve.append((right, right / (right + wrong)))
    points = [max((p for r, p in curve if 10 * r >= tenth * total), default=0.0) for tenth in range(11)]
    area = sum(max((p for r, p in curve if r >= hit), default=0.0) for hit in range(1, total + 1)) / total
    return sum(points) / 11, area


@pytest.mark.parametrize("seed", range(40))
def test_agrees_with_plain_python(seed):
    rng = np.random.default_rng(seed)
    images = [random_image(rng, num_classes=3) for _ in range(int(rng.integers(1, 12)))]
    images += [(NO_DETECTIONS, images[0][1]), (images[0][0], np.zeros((0, 6)))]
    threshold = float(rng.choice([0.3, 0.5, 0.7]))
    scores = score(images, num_classes=4, overlap_threshold=threshold)
    plain = [plain_voc(images, class_id, threshold) for class_id in range(4)]
    assert plain[3] is None
    for one, figures in zip(scores.per_class, plain, strict=True):
        if figures is None:
            assert one.average_precision is None
        else:
            assert (one.average_precision, one.all_points) == pytest.approx(figures, abs=1e-6)
    present = [figures for figures in plain if figures]
    means = np.mean(present, axis=0) if present else (0.0, 0.0)
    assert (scores.mean, scores.all_points) == pytest.approx(tuple(means), abs=1e-6)


def without_close_calls(detections, truth, threshold):
    """Leave out detections whose verdict a changed overlap of 0.01 could turn."""
    kept = []
    for row in detections:
        overlaps = sorted(plain_overlap(row[2:], other[1:5]) for other in truth if other[0] == row[0])
        clear = all(abs(overlap - threshold) > 0.01 for overlap in overlaps)
        if clear and (len(overlaps) < 2 or overlaps[-1] == 0 or overlaps[-1] - overlaps[-2] > 0.01):
            kept.append(row)
    return np.array(kept).reshape(-1, 6)


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_gluoncv(seed):
    from gluoncv.utils.metrics.voc_detection import VOC07MApMetric, VOCMApMetric

    rng = np.random.default_rng(100 + seed)
    images = []
    for _ in range(12):
        detections, truth = random_image(rng, num_classes=3)
        detections = without_close_calls(detections, truth, 0.5)
        detections[:, 1] = rng.random(len(detections))  # no equal scores: its sort is not stable
        images.append((detections, truth))
    for class_id in range(3):
        # 0.6 as its float comes out above 3/5, so it misses a recall point when 5 divides the objects.
        count = sum(int(((t[:, 0] == class_id) & (t[:, 5] == 0)).sum()) for _, t in images)
        extra = np.array([[class_id, *FAR, 0.0]] * (count % 5 == 0)).reshape(-1, 6)
        images.append((NO_DETECTIONS, extra))
    scores = score(images, num_classes=3)
    for metric, ours in ((VOC07MApMetric(0.5), scores.mean), (VOCMApMetric(0.5), scores.all_points)):
        for found, truth in images:
            metric.update(
                [found[None, :, 2:] * 1e4], [found[None, :, 0]], [found[None, :, 1]],
                [truth[None, :, 1:5] * 1e4], [truth[None, :, 0]], [truth[None, :, 5]],
            )  # fmt: skip
        assert metric.get()[1] == pytest.approx(ours, abs=1e-3)
        assert 0.1 < ours < 0.9


def coco_figures(images, num_classes):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def places(boxes):
        scaled = boxes * 1000
        return np.hstack([scaled[:, :2], scaled[:, 2:] - scaled[:, :2]]).tolist()

    annotations, results = [], []
    for image, (found, truth) in enumerate(images):
        for row, box in zip(truth, places(truth[:, 1:5]), strict=True):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image, "category_id": int(row[0]), "bbox": box,
                 "area": box[2] * box[3], "iscrowd": int(row[5])}
            )  # fmt: skip
        for row, box in zip(found, places(found[:, 2:]), strict=True):
            if row[0] >= 0:
                results.append({"image_id": image, "category_id": int(row[0]), "bbox": box, "score": row[1]})
    truth_set = COCO()
    truth_set.dataset = {
        "info": {}, "images": [{"id": image} for image in range(len(images))], "annotations": annotations,
        "categories": [{"id": class_id} for class_id in range(num_classes)],
    }  # fmt: skip
    truth_set.createIndex()
    evaluation = COCOeval(truth_set, truth_set.loadRes(results), "bbox")
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
    evaluation.params.maxDets = [100]
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, 0]  # overlaps, recalls, classes; -1 without truth
    return [precision[:, :, k].mean() if precision[0, 0, k] > -1 else None for k in range(num_classes)]


@pytest.mark.parametrize("seed", range(10))
def test_coco_figure_agrees_with_pycocotools(seed):
    rng = np.random.default_rng(200 + seed)
    images = [random_image(rng, num_classes=3) for _ in range(6)]
    images.append(random_image(rng, num_classes=1, most_objects=20, stray=300))
    scores = score(images, num_classes=4)
    theirs = coco_figures(images, num_classes=4)
    assert theirs[3] is None
    assert scores.per_class[3].coco is None
    for ours, figure in zip(scores.per_class[:3], theirs[:3], strict=True):
        assert ours.coco == pytest.approx(figure, abs=1e-6)
    assert scores.coco == pytest.approx(np.mean(theirs[:3]), abs=1e-6)
    assert 0.01 < scores.coco < 0.9
