"""Trains in the local mode of the SageMaker Python SDK v2, with the environment of requirements-v2.lock.

train_with_v2.py IMAGE DATA CONTENT_TYPE RESULTS HYPERPARAMETERS HOSTS: every folder of DATA is a channel,
HYPERPARAMETERS is a JSON object, whose values reach the SDK as Python values. Prints `model_data: ` and where the SDK
found the model.
"""

import json
import sys
from pathlib import Path

from sagemaker.estimator import Estimator
from sagemaker.inputs import TrainingInput
from sagemaker.local import LocalSession


def train(image: str, data: str, content_type: str, results: str, hyperparameters: str, hosts: str = "1") -> Estimator:
    estimator = Estimator(
        image_uri=image,
        role="arn:aws:iam::111122223333:role/sagemaker",
        instance_type="local",
        instance_count=int(hosts),
        hyperparameters=json.loads(hyperparameters),
        # Without it fit() asks STS for the account, to name a bucket, before anything starts.
        output_path=f"file://{results}",
        sagemaker_session=LocalSession(),
    )
    estimator.fit(
        {
            folder.name: TrainingInput(f"file://{folder}", content_type=content_type)
            for folder in sorted(Path(data).iterdir())
        }
    )
    return estimator


if __name__ == "__main__":
    print("model_data:", train(*sys.argv[1:]).model_data, flush=True)
