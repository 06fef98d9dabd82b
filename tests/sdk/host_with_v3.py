"""Hosts a model in the local mode of the SageMaker Python SDK v3, with the environment of requirements-v3.lock.

host_with_v3.py RESULTS SNIPPET: runs the Python snippet in a folder that holds `photo.jpg`, and writes the `rows` that
it has found to answers.json below RESULTS.
"""

import json
import sys
from pathlib import Path
from typing import Any

results, snippet = sys.argv[1:]
names: dict[str, Any] = {}
exec(snippet, names)
(Path(results) / "answers.json").write_text(json.dumps(names["rows"]))
