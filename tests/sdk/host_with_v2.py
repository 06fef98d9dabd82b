"""Trains and hosts in the local mode of the SageMaker Python SDK v2, with the environment of requirements-v2.lock.

host_with_v2.py IMAGE DATA CONTENT_TYPE RESULTS HYPERPARAMETERS SNIPPETS: the first five are those of train_with_v2.py;
SNIPPETS is a JSON list of Python snippets. They run one after another in one namespace, which holds the trained
`estimator`, in a folder that holds `photo.jpg`; between them this program asks in other ways. Writes what was answered
to answers.json below RESULTS.
"""

import json
import sys
from pathlib import Path
from typing import Any

from sagemaker.deserializers import BytesDeserializer, JSONDeserializer
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer, DataSerializer, IdentitySerializer
from train_with_v2 import train

ANNOTATIONS = {"Accept": "application/json;annotation=1"}


def ask(predictor: Predictor) -> dict[str, Any]:
    """Return what the endpoint answers to other serializers than the documented one, and to what it must refuse."""
    photo = Path("photo.jpg").read_bytes()

    def predict(data: Any, serializer: Any = None, deserializer: Any = None, **more: Any) -> Any:
        chosen = {} if serializer is None else {"serializer": serializer, "deserializer": deserializer}
        asked = Predictor(predictor.endpoint_name, predictor.sagemaker_session, **chosen)
        answer = asked.predict(data, **more)
        return answer.decode() if isinstance(answer, bytes) else answer

    return {
        "default": predict(photo),
        "default, annotations": predict(photo, initial_args=ANNOTATIONS),
        "bytes": predict(photo, IdentitySerializer("image/jpeg"), JSONDeserializer()),
        "path": predict("photo.jpg", DataSerializer(), JSONDeserializer()),
        "no image": predict(b"no image"),
        "csv": predict([[1, 2]], CSVSerializer(), JSONDeserializer()),
        "npy": predict(photo, IdentitySerializer("image/jpeg"), BytesDeserializer(accept="application/x-npy")),
    }


def main(*arguments: str) -> None:
    *of_training, snippets = arguments
    results = Path(of_training[3])
    deploy, ask_again, transform = json.loads(snippets)
    names: dict[str, Any] = {"estimator": train(*of_training)}
    exec(deploy, names)
    answers = {"rows": names["rows"], **ask(names["predictor"])}
    # Ends the endpoint.
    exec(ask_again, names)
    answers["annotations"] = names["annotations"]
    (results / "answers.json").write_text(json.dumps(answers))
    exec(transform, names)


if __name__ == "__main__":
    main(*sys.argv[1:])
