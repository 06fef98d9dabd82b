"""Which form an Accept header chooses, and what the forms look like."""

import json

import pytest

from sagemaker_ssd.serving.answers import AnswerForm, choose_form
from sagemaker_ssd.serving.detection import Detections, RefusedError

JSON, LINES = "application/json", "application/jsonlines"
# Worked out by hand for 500x400 px: left = 0.222 * 500 = 111, right = 0.344 * 500 = 172, top = 0.335 * 400 = 134,
# bottom = 0.655 * 400 = 262; the second one is 0.5 px wide, and clipped at the border.
IMAGE = Detections([[0.0, 0.943, 0.222, 0.335, 0.344, 0.655], [2.0, 0.25, 0.0, 0.0, 0.001, 1.0]], 500, 400)


@pytest.mark.parametrize(
    ("accept", "media_type", "annotations"),
    [
        (None, JSON, False),
        ("", JSON, False),
        ("*/*", JSON, False),
        ("application/*", JSON, False),
        ("application/json", JSON, False),
        ("Application/JSON; charset=utf-8", JSON, False),
        ("application/json;annotation=1", JSON, True),
        ("application/json; annotation=1", JSON, True),
        ('application/json;annotation="1"', JSON, True),
        ("application/json;annotation=0", JSON, False),
        ("application/jsonlines", LINES, False),
        ("application/jsonlines;annotation=1", LINES, True),
        ("text/html, application/xml;q=0.9, */*;q=0.8", JSON, False),
        ("application/json;q=0.5, application/jsonlines;q=0.9", LINES, False),
        ("application/jsonlines, application/json", LINES, False),
        ("application/json;q=0, application/jsonlines;q=0.1", LINES, False),
        ("application/json;q=x", JSON, False),
        ("application/json;q=nan", JSON, False),
    ],
)
def test_the_preferred_form_is_chosen(accept: str | None, media_type: str, annotations: bool):
    assert choose_form(accept) == AnswerForm(media_type, annotations)


@pytest.mark.parametrize("accept", ["application/x-npy", "text/csv", "text/*", "image/png", "application/json;q=0"])
def test_others_are_refused(accept: str):
    with pytest.raises(RefusedError, match="answers in application/json or application/jsonlines") as refused:
        choose_form(accept)
    assert refused.value.status == 406


def test_rows():
    assert AnswerForm(JSON, False).write(IMAGE, 0, ()) == (
        b'{"prediction": [[0.0, 0.943, 0.222, 0.335, 0.344, 0.655], [2.0, 0.25, 0.0, 0.0, 0.001, 1.0]]}'
    )


def test_annotations():
    content = json.loads(AnswerForm(JSON, True).write(IMAGE, 0, ()))
    assert content == {
        "image_size": [{"width": 500, "height": 400, "depth": 3}],
        "annotations": [
            {"class_id": 0, "score": 0.943, "left": 111, "top": 134, "width": 61, "height": 128},
            {"class_id": 2, "score": 0.25, "left": 0, "top": 0, "width": 0, "height": 400},
        ],
    }


def test_a_score_and_names_on_request():
    names = ("dog", "cat", "Käfig")
    rows = AnswerForm(LINES, False).write(IMAGE, 0.25, names)
    assert json.loads(rows) == {"prediction": IMAGE.rows, "class_names": ["dog", "Käfig"]}
    assert rows.endswith(b"\n")
    content = json.loads(AnswerForm(JSON, True).write(IMAGE, 0.3, names))
    assert [note["class_id"] for note in content["annotations"]] == [0]
    assert content["categories"] == [
        {"class_id": 0, "name": "dog"},
        {"class_id": 1, "name": "cat"},
        {"class_id": 2, "name": "Käfig"},
    ]
