"""The image hosts what it has trained, in the surroundings that platforms give it."""

import json
from collections.abc import Callable
from pathlib import Path

from container_runner import Engine
from model_server import write_drawn_model
from served_container import ask, wait_until_ready

SURROUNDINGS = ("--user", "12345:12345", "--cap-drop", "ALL", "--read-only", "--network", "none")


def test_the_image_serves_what_it_has_trained(engine: Engine, make_job: Callable[..., Path]):
    base = make_job(epochs="1")
    trained = engine.run(base, "train")
    assert trained.code == 0, trained.log
    picture = next((base / "input" / "data" / "validation").glob("*.jpg")).name
    container = engine.start(base, "serve", options=SURROUNDINGS)
    wait_until_ready(container)
    status, text = ask(container, "POST", "/invocations", f"@/opt/ml/input/data/validation/{picture}")
    assert status == 200
    assert json.loads(text).keys() == {"prediction"}
    status, text = ask(container, "POST", "/invocations", "@/opt/ml/input/config/hyperparameters.json")
    assert status == 415
    assert json.loads(text)["error"].startswith("the request's body is JSON, which is no image: send the bytes of one")
    assert container.stop() < 8
    ended = container.end()
    assert ended.code == 0, ended.log
    assert ended.log.splitlines()[-1].endswith("Stopped")


def test_a_container_without_a_model_ends_with_a_reason(engine: Engine, tmp_path: Path):
    # The container's user is another one.
    tmp_path.chmod(0o755)
    container = engine.start(tmp_path, "serve", options=SURROUNDINGS)
    container.until("ERROR")
    status, text = ask(container, "GET", "/ping")
    assert status == 503
    assert "/opt/ml/model: there is no such folder" in json.loads(text)["error"]
    assert container.end().code == 1


def test_models_are_loaded_until_the_containers_memory_is_full(engine: Engine, tmp_path: Path):
    write_drawn_model(tmp_path / "models" / "drawn" / "model")
    tmp_path.chmod(0o755)
    limits = ("--memory", "1500m", "--memory-swap", "1500m", "--env", "SAGEMAKER_MULTI_MODEL=true")
    container = engine.start(tmp_path, "serve", options=(*SURROUNDINGS, *limits))
    wait_until_ready(container)
    loaded = []
    while True:
        name = f"model-{len(loaded)}"
        body = json.dumps({"model_name": name, "url": "/opt/ml/models/drawn/model"})
        status, text = ask(container, "POST", "/models", body)
        if status != 200:
            break
        loaded.append(name)
        assert len(loaded) < 10
    print(f"{len(loaded)} models: {text}")
    assert status == 507
    assert "are left: unload other models" in text
    assert len(loaded) >= 2
    # As the platform does it.
    assert ask(container, "DELETE", f"/models/{loaded[0]}")[0] == 200
    assert ask(container, "POST", "/models", body)[0] == 200
    listed = json.loads(ask(container, "GET", "/models")[1])["models"]
    assert [model["modelName"] for model in listed] == [*loaded[1:], name]
    assert "signal 9" not in container.log
    assert container.stop() < 8
