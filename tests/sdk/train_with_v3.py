"""Trains in the local mode of the SageMaker Python SDK v3, with the environment of requirements-v3.lock.

train_with_v3.py IMAGE DATA CONTENT_TYPE RESULTS HYPERPARAMETERS HOSTS: every folder of DATA is a channel,
HYPERPARAMETERS is a JSON object, whose values reach the SDK as Python values. The SDK returns nothing: the model is
below RESULTS.
"""

import json
import sys
from pathlib import Path

from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData
from sagemaker.train.model_trainer import Mode

image, data, content_type, results, hyperparameters, hosts = sys.argv[1:]
trainer = ModelTrainer(
    training_image=image,
    training_mode=Mode.LOCAL_CONTAINER,
    compute=Compute(instance_type="local_cpu", instance_count=int(hosts)),
    hyperparameters=json.loads(hyperparameters),
    local_container_root=results,
)
trainer.train(
    input_data_config=[
        InputData(channel_name=folder.name, data_source=str(folder), content_type=content_type)
        for folder in sorted(Path(data).iterdir())
    ]
)
