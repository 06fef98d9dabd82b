"""A multi-model endpoint: one server, which loads two drawn models, is asked for them and unloads them."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

import pytest

from model_server import ModelServer, write_drawn_model
from sagemaker_ssd.contract.model_folder import PARAMETERS
from sagemaker_ssd.serving.detection import Detection, RefusedError
from sagemaker_ssd.serving.models import Models

# As the platform names models and folders.
A, B = "0f6ea1c1e4", "9b2d7c5a33"
# Runs `predict` on a picture with one model after the other, in one process.
PREDICT = """
import sys
from sagemaker_ssd.predict import main
picture, *models = sys.argv[1:]
for model in models:
    sys.argv = ["predict", model, picture]
    assert main() == 0
"""


@pytest.fixture(scope="module")
def opt_ml(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An /opt/ml without a model of its own, with two in the places of a multi-model endpoint."""
    opt_ml = tmp_path_factory.mktemp("opt_ml")
    shutil.copytree(base / "model", folder(opt_ml, A))
    # With a folder on top in its archive.
    write_drawn_model(folder(opt_ml, B) / "trained", seed=4)
    return opt_ml


def folder(opt_ml: Path, name: str) -> Path:
    return opt_ml / "models" / name / "model"


@pytest.fixture(scope="module")
def predicting(opt_ml: Path, jpeg: bytes) -> subprocess.Popen[str]:
    """`predict` on the picture with each of the models, while the server starts and loads them."""
    picture = opt_ml / "picture.jpg"
    picture.write_bytes(jpeg)
    command = [sys.executable, "-c", PREDICT, picture, folder(opt_ml, A), folder(opt_ml, B)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def server(opt_ml: Path, predicting: subprocess.Popen[str]) -> Iterator[ModelServer]:
    with ModelServer(opt_ml, {"SAGEMAKER_MULTI_MODEL": "true"}) as server:
        server.wait_until_ready()
        assert server.request("GET", "/models").json() == {"models": []}
        yield server


@pytest.fixture(scope="module")
def predicted(predicting: subprocess.Popen[str]) -> dict[str, list[list[float]]]:
    """What `predict` prints."""
    printed, _ = predicting.communicate(timeout=120)
    a, b = (json.loads(line)["prediction"] for line in printed.splitlines())
    assert len(a) > 10
    assert len(b) > 10
    assert a != b
    return {A: a, B: b}


@pytest.fixture
def loaded(server: ModelServer, opt_ml: Path) -> Iterator[ModelServer]:
    """The server with both models, whatever a test has left."""
    for name in (A, B):
        answer = server.load(name, folder(opt_ml, name))
        assert answer.status in (200, 409), answer.body
    return server


def listed(server: ModelServer) -> list[str]:
    return [model["modelName"] for model in server.request("GET", "/models").json()["models"]]


def test_either_model_answers_with_its_own_rows(
    loaded: ModelServer, opt_ml: Path, jpeg: bytes, predicted: dict[str, list[list[float]]]
):
    for name in (A, B, B, A):
        answer = loaded.invoke_model(name, jpeg)
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json() == {"prediction": predicted[name]}
    again = loaded.load(A, folder(opt_ml, A))
    assert (again.status, again.sentence.partition(":")[0]) == (409, f"the model '{A}' is loaded already")


def test_a_model_is_told_of_and_all_are_listed_in_pages(loaded: ModelServer, opt_ml: Path):
    a, b = ({"modelName": name, "modelUrl": str(folder(opt_ml, name))} for name in (A, B))
    one = loaded.request("GET", f"/models/{A}")
    assert (one.status, one.json()) == (200, a)
    models = loaded.request("GET", "/models").json()
    assert sorted(models.pop("models"), key=lambda model: model["modelName"]) == [a, b]
    assert models == {}
    first = loaded.request("GET", "/models?limit=1").json()
    second = loaded.request("GET", f"/models?limit=1&next_page_token={first['nextPageToken']}").json()
    assert len(first["models"]) == 1
    assert second.keys() == {"models"}
    assert sorted(model["modelName"] for model in first["models"] + second["models"]) == [A, B]
    assert loaded.request("GET", "/models?next_page_token=999999999").json() == {"models": []}


def test_a_model_that_is_unloaded_between_two_pages_hides_no_other_one(loaded: ModelServer):
    first = loaded.request("GET", "/models?limit=1").json()
    (one,) = (model["modelName"] for model in first["models"])
    assert loaded.request("DELETE", f"/models/{one}").status == 200
    second = loaded.request("GET", f"/models?limit=1&next_page_token={first['nextPageToken']}").json()
    assert [model["modelName"] for model in second["models"]] == [B if one == A else A]
    assert second.keys() == {"models"}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("limit=0", "limit is '0'; it must be a whole number from 1 on"),
        ("limit=many", "limit is 'many'; it must be a whole number from 1 on"),
        ("next_page_token=-1", "next_page_token is '-1'; it must be a whole number from 0 on"),
    ],
)
def test_pages_that_cannot_be_are_refused(server: ModelServer, query: str, sentence: str):
    answer = server.request("GET", f"/models?{query}")
    assert (answer.status, answer.sentence) == (400, sentence)


def test_what_is_not_loaded_is_not_found(loaded: ModelServer, opt_ml: Path, jpeg: bytes):
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/invoke")):
        for name in ("other", "%2e%2e", "..%2F..%2Fetc", "a%0Ab"):
            answer = loaded.request(method, f"/models/{name}{path}", jpeg if path else None)
            assert answer.status == 404
            answer.sentence  # noqa: B018, its form is checked
    assert loaded.request("GET", "/models/other").sentence == (
        "the model 'other' is not loaded: load it by POST /models"
    )
    deleted = loaded.request("DELETE", f"/models/{A}")
    assert (deleted.status, deleted.json()["modelName"]) == (200, A)
    assert loaded.request("GET", f"/models/{A}").status == 404
    assert loaded.invoke_model(A, jpeg).status == 404
    assert loaded.request("DELETE", f"/models/{A}").status == 404
    assert listed(loaded) == [B]


def test_a_model_that_is_unloaded_while_a_body_comes_stays_unloaded(loaded: ModelServer, jpeg: bytes):
    head = f"POST /models/{A}/invoke HTTP/1.1\r\nHost: x\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", loaded.port), timeout=60) as connection:
        connection.sendall(head + jpeg[:1000])
        time.sleep(0.5)
        assert loaded.request("DELETE", f"/models/{A}").status == 200
        loads = loaded.log.count("Loading the model")
        connection.sendall(jpeg[1000:])
        assert connection.recv(100).startswith(b"HTTP/1.1 404 ")
    assert listed(loaded) == [B]
    assert loaded.log.count("Loading the model") == loads


def test_an_invocation_is_one_of_the_built_ins(loaded: ModelServer, jpeg: bytes):
    """Body, Accept, attributes, inference id and errors are those of /invocations."""
    answer = loaded.invoke_model(
        A,
        jpeg,
        Accept="application/jsonlines;annotation=1",
        X_Amzn_SageMaker_Custom_Attributes="trace=1",
        X_Amzn_SageMaker_Inference_Id="id-1",
        X_Amzn_SageMaker_Target_Model="cats/model.tar.gz",
    )
    assert (answer.status, answer.headers["content-type"]) == (200, "application/jsonlines")
    assert answer.json().keys() == {"image_size", "annotations"}
    assert answer.headers["x-amzn-sagemaker-custom-attributes"] == "trace=1"
    told = r"target model 'cats/model.tar.gz', inference id 'id-1': "
    loaded.wait_for_line(rf"POST /models/{A}/invoke 200 in [\d.]+ s, {told}")
    for body, headers, status in (
        (b"", {}, 400),
        (b"no image", {}, 400),
        (jpeg, {"Accept": "text/csv"}, 406),
        (jpeg, {"Content_Type": "text/csv"}, 415),
        (bytes(26 << 20), {}, 413),
    ):
        answer = loaded.invoke_model(A, body, **headers)
        assert answer.status == status
        answer.sentence  # noqa: B018, its form is checked


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/invocations", 404),
        ("GET", "/models/", 404),
        ("PUT", "/models", 405),
        ("GET", "/models/a/invoke", 405),
    ],
)
def test_what_there_is_not_is_told_in_json(server: ModelServer, method: str, path: str, status: int):
    answer = server.request(method, path)
    assert answer.status == status
    assert answer.sentence.endswith(
        "there are GET /ping, GET and POST /models, GET and DELETE /models/{name} and POST /models/{name}/invoke"
    )


BODIES = {
    "empty": (b"", 400, "the request's body is no JSON: send JSON such as"),
    "no JSON": (b"model_name=a&url=b", 400, "the request's body is no JSON"),
    "no text": (b"\xff", 400, "the request's body is no JSON"),
    "deep": (b"[" * 60_000, 400, "the request's body is no JSON"),
    "a list": (b"[]", 400, "names no model and no folder"),
    "no url": (b'{"model_name": "a"}', 400, "names no model and no folder"),
    "a number": (b'{"model_name": 1, "url": "/opt/ml/models/1"}', 400, "names no model and no folder"),
    "large": (bytes(65_537), 413, "has more than 64 kB"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_names_no_model_is_refused(server: ModelServer, case: str):
    body, status, sentence = BODIES[case]
    answer = server.request("POST", "/models", body)
    assert answer.status == status
    assert sentence in answer.sentence


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc", "a\nb", "\ud800", "a" * 1025])
def test_names_that_no_path_can_name_are_refused(server: ModelServer, opt_ml: Path, name: str):
    answer = server.load(name, folder(opt_ml, A))
    assert answer.status == 400
    assert answer.sentence.startswith("model_name is '")


@pytest.mark.parametrize("url", ["/etc", "{base}", "{base}/../elsewhere", "{base}/models/../..", "models/a", "", "/\0"])
def test_folders_outside_of_the_base_are_refused(server: ModelServer, opt_ml: Path, url: str):
    answer = server.load("a", url.format(base=opt_ml))
    assert answer.status == 400
    assert answer.sentence.endswith(f"it must be the path of a folder below {opt_ml}")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("../opt_ml", "{real}/models/a"),
        ("linked/opt_ml", "{real}/models/a"),
        ("opt_ml", "{linked}/models/a"),
        ("{linked}", "{linked}/models/a"),
    ],
)
def test_folders_below_the_base_are_taken_however_both_are_written(
    given: str, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Relative to the working directory, and through a link, as $PWD may have it."""
    (tmp_path / "real" / "opt_ml" / "models" / "a").mkdir(parents=True)
    (tmp_path / "real" / "linked").symlink_to(".")
    (tmp_path / "elsewhere").symlink_to("real")
    monkeypatch.chdir(tmp_path / "real" / ("opt_ml" if given.startswith("..") else ""))
    places = {"real": tmp_path / "real" / "opt_ml", "linked": tmp_path / "elsewhere" / "opt_ml"}
    models = Models(Detection(60.0, None), Path(given.format(**places)))

    def refusal(folder: str) -> RefusedError:
        body = json.dumps({"model_name": "a", "url": folder}).encode()
        with pytest.raises(RefusedError) as refused:
            asyncio.run(models.load(body))
        return refused.value

    # The next thing that is wrong: no process runs here.
    assert refusal(url.format(**places)).sentence == "MXNet is being loaded: try again"
    assert refusal(str(tmp_path / "real")).status == 400
    assert refusal(str(places["linked"])).status == 400


def test_a_name_may_have_any_characters_that_a_path_can_have(server: ModelServer, opt_ml: Path, jpeg: bytes):
    name = "Käfig & Co? #1%.tar"
    assert server.load(name, folder(opt_ml, B)).status == 200
    assert name in listed(server)
    assert server.request("GET", f"/models/{quote(name)}").json()["modelName"] == name
    assert server.invoke_model(quote(name), jpeg).status == 200
    assert server.request("DELETE", f"/models/{quote(name)}").status == 200


def damaged(opt_ml: Path, name: str) -> Path:
    """Copy a model and cut its parameters off."""
    copied = folder(opt_ml, name)
    shutil.copytree(folder(opt_ml, A), copied)
    os.truncate(copied / PARAMETERS, 1_000_000)
    return copied


def test_a_model_that_cannot_be_loaded_is_told_and_the_others_are_served_on(
    loaded: ModelServer, opt_ml: Path, jpeg: bytes, predicted: dict[str, list[list[float]]]
):
    (child,) = loaded.children()
    (opt_ml / "models" / "empty").mkdir()
    for name, url, sentence in (
        ("missing", folder(opt_ml, "missing"), "there is no such folder; the model.tar.gz of a training job"),
        ("empty", opt_ml / "models" / "empty", "it holds no files; the model.tar.gz of a training job"),
        ("damaged", damaged(opt_ml, "damaged"), PARAMETERS),
    ):
        answer = loaded.load(name, url)
        assert answer.status == 400
        assert sentence in answer.sentence
        assert loaded.request("GET", f"/models/{name}").status == 404
    assert loaded.ping().status == 200
    assert loaded.children() == [child]
    assert loaded.invoke_model(A, jpeg).json() == {"prediction": predicted[A]}


def test_a_model_that_is_being_loaded_is_loaded_once(loaded: ModelServer, opt_ml: Path, jpeg: bytes):
    """Who asks for it meanwhile is told so, and who orders it too has the result of the first order."""
    place = folder(opt_ml, B)
    (child,) = loaded.children()
    os.kill(child, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        try:
            first = pool.submit(loaded.load, "c", place)
            time.sleep(0.5)
            second = pool.submit(loaded.load, "c", place)
            for method, path in (("POST", "/models/c/invoke"), ("GET", "/models/c"), ("DELETE", "/models/c")):
                answer = loaded.request(method, path, jpeg if method == "POST" else None)
                assert (answer.status, answer.headers["retry-after"]) == (503, "10")
                assert answer.sentence == "the model 'c' is being loaded: try again"
            assert sorted(listed(loaded)) == [A, B]
            assert not second.done()
        finally:
            os.kill(child, signal.SIGCONT)
        assert first.result().status == 200
        assert (second.result().status, second.result().sentence) == (
            409,
            "the model 'c' is loaded already: unload it by DELETE /models/... first",
        )
    assert loaded.log.count("Loading the model 'c'") == 1
    assert loaded.invoke_model("c", jpeg).status == 200
    assert loaded.request("DELETE", "/models/c").status == 200


def test_a_model_that_cannot_be_loaded_is_refused_to_all_who_order_it_meanwhile(loaded: ModelServer, opt_ml: Path):
    """Who orders another folder under its name has that one loaded."""
    bad = damaged(opt_ml, "damaged_too")
    (child,) = loaded.children()
    os.kill(child, signal.SIGSTOP)
    with ThreadPoolExecutor() as pool:
        try:
            orders = []
            for place in (bad, bad, folder(opt_ml, B), bad):
                orders.append(pool.submit(loaded.load, "d", place))
                time.sleep(0.3)
        finally:
            os.kill(child, signal.SIGCONT)
        answers = [order.result() for order in orders]
    assert [answer.status for answer in answers] == [400, 400, 200, 400]
    assert answers[0].sentence == answers[1].sentence == answers[3].sentence
    assert loaded.log.count("Loading the model 'd'") == 2
    assert loaded.request("DELETE", "/models/d").status == 200


def test_a_model_for_which_the_memory_does_not_suffice_is_answered_507(loaded: ModelServer, opt_ml: Path):
    large = folder(opt_ml, "large")
    large.mkdir(parents=True)
    # A tebibyte, more than any machine that tests this has; it takes no room on the disk.
    (large / PARAMETERS).touch()
    os.truncate(large / PARAMETERS, 1 << 40)
    answer = loaded.load("large", large)
    assert answer.status == 507
    assert re.search(r"it needs about 2,199\.2 GB of memory, and [\d.,]+ .B are left: unload", answer.sentence)
    assert sorted(listed(loaded)) == [A, B]


@pytest.mark.long
def test_models_are_loaded_again_after_their_process_was_killed(
    loaded: ModelServer, jpeg: bytes, predicted: dict[str, list[list[float]]]
):
    (child,) = loaded.children()
    os.kill(child, signal.SIGKILL)
    loaded.wait_for_line("killed by signal 9 .* it is started again")
    assert sorted(listed(loaded)) == [A, B]
    assert loaded.load("c", "/etc").status == 400
    assert loaded.invoke_model(A, jpeg).sentence == "the detection process ended and is being replaced: try again"
    loaded.wait_until_ready()
    assert loaded.children() != [child]
    for name in (B, A):
        assert loaded.invoke_model(name, jpeg).json() == {"prediction": predicted[name]}
    assert loaded.load(A, "/etc").status == 400
