"""The detector of hosting behind Flask, for gunicorn: what a person would write around it. MODEL is the model's folder.

Needs Flask, which is not in this project's environment; serving_speed.py starts it.
"""

import os
import threading
from pathlib import Path
from typing import Any

from flask import Flask, request

from sagemaker_ssd.hosting.images import RefusedImageError, prepare
from sagemaker_ssd.hosting.model import load_detectors

detectors = load_detectors(Path(os.environ["MODEL"]), None, 1, ())
detectors.warm_up()
# One network computes one image at a time.
computing = threading.Lock()
app = Flask(__name__)


@app.get("/ping")
def ping() -> str:
    return ""


@app.post("/invocations")
def invocations() -> Any:
    try:
        image = prepare(request.get_data(), detectors.model.network)
    except RefusedImageError as refused:
        return {"error": refused.sentence}, refused.status
    with computing:
        found = detectors.detect([image.input])
    assert found is not None
    return {"prediction": found[0]}
