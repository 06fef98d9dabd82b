"""How a job ended, wherever it ran."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

# The built-in's three files and nothing else.
MODEL = {"model_algo_1-symbol.json", "model_algo_1-0000.params", "hyperparams.json"}
# What a job that comes to its end makes of the model, in output/data.
MADE_OF_THE_MODEL = (
    "report.html",
    "model.onnx",
    "detections.json",
    "ground_truth.json",
    "deploy/deploy_model_algo_1-symbol.json",
    "deploy/deploy_model_algo_1-0000.params",
)
# As docs/sagemaker.md defines the metric validation:best_mAP.
BEST_MAP = re.compile(r"#quality_metric: .* validation best mAP <score>=\((\S+)\)")


def leave_another_models_outputs(base: Path) -> None:
    """Put files in the places of those that are made of the model, as an earlier job leaves them."""
    for name in MADE_OF_THE_MODEL:
        path = base / "output" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("of another model")


@dataclass(frozen=True)
class Ended:
    """Its exit code and log; `base` is the /opt/ml that it ran on."""

    code: int
    log: str
    base: Path

    @property
    def failure(self) -> str | None:
        path = self.base / "output" / "failure"
        return path.read_text() if path.exists() else None

    @property
    def model_files(self) -> set[str]:
        return {path.name for path in (self.base / "model").iterdir()}

    @property
    def made_of_the_model(self) -> list[str]:
        return [name for name in MADE_OF_THE_MODEL if (self.base / "output" / "data" / name).exists()]

    @property
    def metrics(self) -> dict:
        return json.loads((self.base / "output" / "data" / "metrics.json").read_text())
