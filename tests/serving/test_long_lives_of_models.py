"""Multi-model endpoints that lack memory, lose processes while they load, and are asked for too much."""

import os
import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_server import PING_SECONDS, Clients, ModelServer, shed_what_would_take_too_long, write_drawn_model

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def opt_ml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("opt_ml")
    write_drawn_model(base / "models" / "a", seed=3)
    write_drawn_model(base / "models" / "b", seed=4)
    return base


@pytest.fixture
def server(opt_ml: Path) -> Iterator[ModelServer]:
    """One thread, so that a minute is enough for few images on every machine."""
    with ModelServer(opt_ml, {"SAGEMAKER_MULTI_MODEL": "true", "OMP_NUM_THREADS": "1"}) as server:
        server.wait_until_ready()
        yield server


def load_both(server: ModelServer, opt_ml: Path) -> None:
    for name in ("a", "b"):
        assert server.load(name, opt_ml / "models" / name).status == 200


def resident(process: int) -> int:
    """Return the MB of a process that are in memory."""
    status = (Path("/proc") / str(process) / "status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) // 1024


def test_the_memory_of_an_unloaded_model_is_free_when_the_answer_comes(server: ModelServer, opt_ml: Path, jpeg: bytes):
    load_both(server, opt_ml)
    (child,) = server.children()
    model = opt_ml / "models" / "b"
    size = sum(file.stat().st_size for file in model.iterdir()) >> 20
    sizes = []
    for _ in range(6):
        assert server.invoke_model("b", jpeg).status == 200
        full = resident(child)
        assert server.request("DELETE", "/models/b").status == 200
        sizes.append((full, resident(child)))
        assert server.load("b", model).status == 200
    print(f"MB with both models and with one, a model's file having {size}: {sizes}")
    assert min(full - empty for full, empty in sizes) > size
    # Nothing is left behind from one time to the next.
    assert sizes[-1][1] - sizes[1][1] < size // 4


def test_pings_and_the_other_model_are_answered_while_a_model_loads(server: ModelServer, opt_ml: Path, jpeg: bytes):
    assert server.load("a", opt_ml / "models" / "a").status == 200
    pings = Clients(1, server.ping, pause=0.02)
    asked = Clients(2, lambda: server.invoke_model("a", jpeg))
    for _ in range(3):
        loaded = server.load("b", opt_ml / "models" / "b")
        assert loaded.status == 200
        print(f"loaded beside two clients in {loaded.seconds:.1f} s")
        assert server.request("DELETE", "/models/b").status == 200
    assert set(asked.stop()) == {200}
    assert set(pings.stop()) == {200}
    slowest = max(answer.seconds for answer in pings.answers if answer)
    print(f"slowest ping {slowest * 1000:.0f} ms")
    assert slowest < PING_SECONDS


def test_a_process_that_is_killed_while_it_loads_is_a_lack_of_memory(server: ModelServer, opt_ml: Path, jpeg: bytes):
    """Four times, more than would end a server whose processes die for another reason."""
    assert server.load("a", opt_ml / "models" / "a").status == 200
    killed = 0
    while killed < 4:
        before = server.log.count("Loading the model 'b'")
        with ThreadPoolExecutor() as threads:
            (child,) = server.children()
            loading = threads.submit(server.load, "b", opt_ml / "models" / "b")
            server.wait_for_line("Loading the model 'b'", before + 1)
            os.kill(child, signal.SIGKILL)
            answer = loading.result(60)
        if answer.status == 200:
            # On a busy machine it can be loaded before the kill comes.
            server.wait_until_ready()
            assert server.request("DELETE", "/models/b").status == 200
            continue
        killed += 1
        assert answer.status == 507
        assert answer.sentence.startswith("the detection process was killed by signal 9 (SIGKILL)")
        assert "load fewer models at a time" in answer.sentence
        server.wait_until_ready()
    assert server.request("GET", "/models/b").status == 404
    assert server.invoke_model("a", jpeg).status == 200
    assert server.load("b", opt_ml / "models" / "b").status == 200


def test_a_model_that_is_gone_after_its_process_was_killed_can_be_loaded_anew(
    server: ModelServer, opt_ml: Path, tmp_path: Path, jpeg: bytes
):
    load_both(server, opt_ml)
    (opt_ml / "models" / "b").rename(opt_ml / "models" / "gone")
    try:
        os.kill(server.children()[0], signal.SIGKILL)
        server.wait_for_line("is started again")
        server.wait_until_ready()
        answer = server.invoke_model("b", jpeg)
        assert answer.status == 400
        assert "there is no such folder" in answer.sentence
        assert server.invoke_model("b", jpeg).status == 404
        assert [model["modelName"] for model in server.request("GET", "/models").json()["models"]] == ["a"]
        assert server.load("b", opt_ml / "models" / "gone").status == 200
        assert server.invoke_model("b", jpeg).status == 200
        assert server.invoke_model("a", jpeg).status == 200
    finally:
        (opt_ml / "models" / "gone").rename(opt_ml / "models" / "b")


def test_memory_that_ends_while_a_model_loads_is_answered_507(server: ModelServer, opt_ml: Path, jpeg: bytes):
    """The process's own limit, which nothing foresees, as where another container takes what seemed free."""
    assert server.load("a", opt_ml / "models" / "a").status == 200
    (child,) = server.children()
    taken = int((Path("/proc") / str(child) / "statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.prlimit(child, resource.RLIMIT_AS)
    resource.prlimit(child, resource.RLIMIT_AS, (taken + (60 << 20), limits[1]))
    answer = server.load("b", opt_ml / "models" / "b")
    print(answer.body)
    assert answer.status == 507
    assert "ran out of memory with the model in" in answer.sentence or "signal 9" in answer.sentence
    assert server.request("GET", "/models/b").status == 404
    resource.prlimit(server.children()[0], resource.RLIMIT_AS, limits)
    assert server.load("b", opt_ml / "models" / "b").status == 200
    for name in ("a", "b"):
        assert server.invoke_model(name, jpeg).status == 200


def test_what_would_take_too_long_is_refused_over_all_models(server: ModelServer, opt_ml: Path, jpeg: bytes):
    load_both(server, opt_ml)
    shed_what_would_take_too_long(server, jpeg, ("/models/a/invoke", "/models/b/invoke"))


def test_several_processes_hold_every_model(opt_ml: Path, jpeg: bytes):
    with ModelServer(opt_ml, {"SAGEMAKER_MULTI_MODEL": "true", "SAGEMAKER_MODEL_SERVER_WORKERS": "2"}) as server:
        server.wait_until_ready()
        server.wait_for_line("Ready after", 2)
        load_both(server, opt_ml)
        server.wait_for_line("Loaded the model 'b'", 2)
        rows = {name: server.invoke_model(name, jpeg).json() for name in ("a", "b")}
        os.kill(server.children()[0], signal.SIGKILL)
        server.wait_for_line("killed by signal 9 .* it is started again")
        assert server.ping().status == 200
        server.wait_for_line("Ready after", 3)
        clients = Clients(6, lambda: server.invoke_model("a", jpeg))
        server.wait_for_line("Loaded the model 'a'", 3)
        assert set(clients.stop()) == {200}
        assert {name: server.invoke_model(name, jpeg).json() for name in ("a", "b")} == rows
        assert server.request("DELETE", "/models/a").status == 200
        assert server.invoke_model("a", jpeg).status == 404
