"""The image hosts what it has trained, in the surroundings that platforms give it."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from container_runner import Container, Engine, docker
from model_server import write_drawn_model

# Asked from within, since a container without a network has nothing but its own loopback.
ASK = """
import http.client, json, sys
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=100)
body = open(sys.argv[2], "rb").read() if len(sys.argv) > 2 else None
connection.request("GET" if body is None else "POST", sys.argv[1], body)
response = connection.getresponse()
print(json.dumps([response.status, response.read().decode()]))
"""
SURROUNDINGS = ("--user", "12345:12345", "--cap-drop", "ALL", "--read-only", "--network", "none")


def ask(container: Container, *arguments: str) -> tuple[int, str]:
    status, text = json.loads(docker("exec", container.name, "python3", "-c", ASK, *arguments))
    return status, text


def wait_until_ready(container: Container) -> None:
    container.until("Ready after")
    deadline = time.monotonic() + 10
    while ask(container, "/ping") != (200, ""):
        assert time.monotonic() < deadline


def test_the_image_serves_what_it_has_trained(engine: Engine, make_job: Callable[..., Path]):
    base = make_job(epochs="1")
    trained = engine.run(base, "train")
    assert trained.code == 0, trained.log
    picture = next((base / "input" / "data" / "validation").glob("*.jpg")).name
    container = engine.start(base, "serve", options=SURROUNDINGS)
    wait_until_ready(container)
    status, text = ask(container, "/invocations", f"/opt/ml/input/data/validation/{picture}")
    assert status == 200
    assert json.loads(text).keys() == {"prediction"}
    status, text = ask(container, "/invocations", "/opt/ml/input/config/hyperparameters.json")
    assert (status, json.loads(text)) == (400, {"error": "the request's body: damaged or not an image"})
    assert container.stop() < 8
    ended = container.end()
    assert ended.code == 0, ended.log
    assert ended.log.splitlines()[-1].endswith("Stopped")


def test_a_container_without_a_model_ends_with_a_reason(engine: Engine, tmp_path: Path):
    # The container's user is another one.
    tmp_path.chmod(0o755)
    container = engine.start(tmp_path, "serve", options=SURROUNDINGS)
    container.until("ERROR")
    status, text = ask(container, "/ping")
    assert status == 503
    assert "/opt/ml/model: there is no such folder" in json.loads(text)["error"]
    assert container.end().code == 1


ASK_MODELS = """
import http.client, json, sys
method, path, body = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=100)
connection.request(method, path, body or None)
response = connection.getresponse()
print(json.dumps([response.status, response.read().decode()]))
"""


def ask_models(container: Container, method: str, path: str, body: object = None) -> tuple[int, str]:
    text = "" if body is None else json.dumps(body)
    status, text = json.loads(docker("exec", container.name, "python3", "-c", ASK_MODELS, method, path, text))
    return status, text


def test_models_are_loaded_until_the_containers_memory_is_full(engine: Engine, tmp_path: Path):
    write_drawn_model(tmp_path / "models" / "drawn" / "model")
    tmp_path.chmod(0o755)
    limits = ("--memory", "1500m", "--memory-swap", "1500m", "--env", "SAGEMAKER_MULTI_MODEL=true")
    container = engine.start(tmp_path, "serve", options=(*SURROUNDINGS, *limits))
    wait_until_ready(container)
    loaded = []
    while True:
        name = f"model-{len(loaded)}"
        body = {"model_name": name, "url": "/opt/ml/models/drawn/model"}
        status, text = ask_models(container, "POST", "/models", body)
        if status != 200:
            break
        loaded.append(name)
        assert len(loaded) < 10
    print(f"{len(loaded)} models: {text}")
    assert status == 507
    assert "are left: unload other models" in text
    assert len(loaded) >= 2
    # As the platform does it.
    assert ask_models(container, "DELETE", f"/models/{loaded[0]}")[0] == 200
    assert ask_models(container, "POST", "/models", body)[0] == 200
    listed = json.loads(ask_models(container, "GET", "/models")[1])["models"]
    assert [model["modelName"] for model in listed] == [*loaded[1:], name]
    assert "signal 9" not in container.log
    assert container.stop() < 8
