"""How a job ended, wherever it ran."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

# The built-in's three files and nothing else.
MODEL = {"model_algo_1-symbol.json", "model_algo_1-0000.params", "hyperparams.json"}
# As docs/sagemaker.md defines the metric validation:best_mAP.
BEST_MAP = re.compile(r"#quality_metric: .* validation best mAP <score>=\((\S+)\)")


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
    def metrics(self) -> dict:
        return json.loads((self.base / "output" / "data" / "metrics.json").read_text())
