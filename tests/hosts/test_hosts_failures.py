"""Whatever happens to one host: every host ends soon, and says what happened and where."""

import json
import os
import signal
import time
from collections.abc import Callable

import pytest

from cluster_runner import Host, Hosts, left_running, own_data, own_shard
from ended_job import MODEL, Ended
from process_tree import descendants

# Of the minute that is allowed, most is for machines slower than this one.
SOON_SECONDS = 60
FIRST, SECOND = "127.0.0.1", "127.0.0.2"


def signal_all(host: Host, number: signal.Signals) -> None:
    assert host.process is not None
    for process in (host.process.pid, *descendants(host.process.pid)):
        os.kill(process, number)


def test_a_killed_worker_is_told_on_every_host(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2, epochs="9")
    hosts.start()
    hosts[0].until("Start training.")
    hosts[1].until("Start training.")
    os.kill(hosts[1].child("worker"), signal.SIGKILL)
    first, second = hosts.end(SOON_SECONDS)
    assert (first.code, second.code) == (2, 2)
    assert second.failure is not None
    assert second.failure.startswith("the training process was killed by signal 9 (SIGKILL). Nearly always the machine")
    assert first.failure == f"host {SECOND}: {second.failure}"
    assert left_running(hosts) == []


@pytest.mark.parametrize("role", ["server", "scheduler"])
def test_a_crashed_parameter_server_is_told_on_every_host(role: str, make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2, epochs="9")
    hosts.start()
    hosts[0].until("Start training.")
    os.kill(hosts[0].child(role), signal.SIGSEGV)
    first, second = hosts.end(SOON_SECONDS)
    assert (first.code, second.code) == (3, 3)
    assert first.failure is not None
    name = {"server": "the parameter server", "scheduler": "the parameter server's scheduler"}[role]
    assert first.failure.startswith(f"{name} crashed with signal 11 (SIGSEGV) in native code")
    assert second.failure == f"host {FIRST}: {first.failure}"
    assert left_running(hosts) == []


def test_a_parameter_server_that_dies_after_the_training_costs_nothing(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2, epochs="1")
    # For as long as this test needs, however busy the machine is.
    hosts.environment(SAGEMAKER_SSD_SILENCE_SECONDS="60")
    hosts.start()
    # The first host's worker is at what follows the training, and paused there.
    hosts[0].until("The model as ONNX: ")
    supervisor, worker, scheduler, server = (
        hosts[0].child(what) for what in ("supervisor", "worker", "scheduler", "server")
    )
    for process, number in (
        *((process, signal.SIGSTOP) for process in (worker, supervisor)),
        *((process, signal.SIGKILL) for process in (scheduler, server)),
        (supervisor, signal.SIGCONT),
    ):
        os.kill(process, number)
    time.sleep(2)
    assert hosts[0].failure is None
    os.kill(worker, signal.SIGCONT)
    first, second = hosts.end()
    assert (first.code, first.failure, first.model_files) == (0, None, MODEL), first.log
    assert (second.code, second.failure) == (0, None), second.log
    assert "best" in first.metrics
    assert left_running(hosts) == []


@pytest.mark.long
def test_a_host_that_is_cut_off_is_missed_and_ends_too(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2, epochs="9")
    hosts.start()
    hosts[0].until("Start training.")
    hosts[1].until("Start training.")
    signal_all(hosts[1], signal.SIGSTOP)
    first = hosts[0].end(time.monotonic() + SOON_SECONDS)
    assert first.code == 2
    assert first.failure is not None
    assert first.failure.startswith(f"host {SECOND}")
    assert "5 seconds" in first.failure
    signal_all(hosts[1], signal.SIGCONT)
    second = hosts[1].end(time.monotonic() + SOON_SECONDS)
    assert second.code == 2
    assert second.failure
    assert left_running(hosts) == []


def test_a_fault_in_the_data_of_one_host_is_every_hosts_failure(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2)
    label, other = sorted((own_data(hosts[1]) / "train_annotation").rglob("*.json"))[:2]
    for path, class_id, side in ((label, 7, 50), (other, 0, 0.5)):
        content = json.loads(path.read_text())
        content["annotations"] = [{"class_id": class_id, "left": 0, "top": 0, "width": side, "height": side}]
        path.write_text(json.dumps(content))
    first, second = hosts.run()
    assert (first.code, second.code) == (1, 1)
    assert second.failure is not None
    assert f"{label.name}: box 0 has class_id 7" in second.failure
    assert "1 JSON with boxes that all lie within 0 to 1" in second.failure
    assert f"{other.name}: box 0 (left 0, top 0, width 0.5" in second.failure
    assert first.failure == f"host {SECOND}: {second.failure}"


@pytest.mark.long
def test_hosts_with_different_images_are_told_apart(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2)
    next((own_data(hosts[1]) / "train").rglob("*.jpg")).unlink()
    first, second = hosts.run()
    assert (first.code, second.code) == (1, 1)
    for failure in (first.failure, second.failure):
        assert failure is not None
        assert f"different train channels: {FIRST} has 8 images" in failure
        assert f"{SECOND} has 7 images" in failure
        assert "ShardedByS3Key" in failure


def test_a_fault_of_one_hosts_files_reaches_the_other_before_they_meet(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2)
    hosts[1].job.set(learning_rate="7")
    first, second = hosts.run()
    assert (first.code, second.code) == (1, 1)
    assert second.failure is not None
    assert second.failure.startswith("hyperparameters.json: learning_rate is '7'")
    assert first.failure == f"host {SECOND}: {second.failure}"


def test_a_fault_of_every_hosts_files_is_each_hosts_own(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(3)
    hosts.set(kv_store=None)
    start = time.monotonic()
    ended = hosts.run()
    assert time.monotonic() - start < SOON_SECONDS
    for end in ended:
        assert end.code == 1
        assert end.failure is not None
        assert end.failure.startswith("hyperparameters.json: kv_store is not set, and the job has 3 hosts: set it to")


@pytest.mark.long
@pytest.mark.parametrize("missing", [0, 1])
def test_a_host_that_never_appears_is_named(make_hosts: Callable[..., Hosts], missing: int):
    hosts = make_hosts(2)
    hosts.environment(SAGEMAKER_SSD_HOSTS_SECONDS="3")
    there = hosts[1 - missing]
    there.start()
    ended = there.end(time.monotonic() + SOON_SECONDS)
    assert ended.code == 2
    assert ended.failure is not None
    assert hosts[missing].name in ended.failure
    assert "SAGEMAKER_SSD_HOSTS_SECONDS" in ended.failure


def test_a_stop_of_one_host_stops_all_and_is_no_failure(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2, epochs="9")
    hosts.start()
    hosts[1].until("completed 11.1")
    assert hosts[1].process is not None
    hosts[1].process.terminate()
    # docker stop kills after ten seconds.
    first, second = hosts.end(10)
    assert (first.code, first.failure, first.model_files) == (0, None, MODEL)
    assert (second.code, second.failure) == (0, None)
    assert "Stopped on request, the best model so far is in place. Model: " in first.log
    assert (
        f"Stopped on request, the best model so far is in place. The model and the metrics are on {FIRST}" in second.log
    )


@pytest.mark.long
def test_a_stop_of_all_before_the_first_model_is_told_on_every_host(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2, epochs="9")
    hosts.start()
    hosts[0].until("Start training.")
    for host in hosts.hosts:
        assert host.process is not None
        host.process.terminate()
    for end in hosts.end(10):
        assert end.code == 2
        assert end.failure is not None
        assert "stopped on request before the first model was saved, so there is no model" in end.failure


@pytest.mark.long
@pytest.mark.parametrize("number", [0, 1])
def test_sagemakers_stop_of_all_leaves_a_first_model(make_hosts: Callable[..., Hosts], number: int):
    # The first host's next batch is a step of all hosts, which must take part in it.
    hosts = make_hosts(2, epochs="9")
    hosts.environment(TRAINING_JOB_ARN="arn:aws:sagemaker:eu-west-1:111122223333:training-job/cards")
    hosts.start()
    hosts[0].until("Start training.")
    for host in (hosts[number], hosts[1 - number]):
        assert host.process is not None
        host.process.terminate()
    first, second = hosts.end(100)
    assert (first.code, first.failure, first.model_files) == (0, None, MODEL), first.log
    assert (second.code, second.failure) == (0, None), second.log
    assert first.metrics["best_mAP"] is None
    assert left_running(hosts) == []


@pytest.mark.long
def test_a_parameter_server_that_does_not_start_has_the_hosts_time_limit(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2)
    hosts.environment(SAGEMAKER_SSD_HOSTS_SECONDS="30")
    hosts.start()
    hosts[0].until("All 2 hosts are there")
    # Its port answers nobody, as behind a security group that allows the first host's port alone.
    os.kill(hosts[0].child("scheduler"), signal.SIGSTOP)
    for end in hosts.end(120):
        assert end.code == 2
        assert end.failure is not None
        assert "nothing for 30 seconds after the start of MXNet's parameter server" in end.failure
        assert end.failure.endswith("or, if a host is only slow, raise SAGEMAKER_SSD_HOSTS_SECONDS")


@pytest.mark.long
def test_a_stop_before_the_hosts_have_met(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2)
    for host in hosts.hosts:
        host.start()
        host.until("Final configuration")
        assert host.process is not None
        host.process.terminate()
        ended: Ended = host.end(time.monotonic() + 10)
        assert ended.code == 2
        assert ended.failure is not None
        assert "stop" in ended.failure


@pytest.mark.long
@pytest.mark.parametrize("moment", ["Start training.", "All hosts have the same weights after epoch 0"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_worker_that_hangs_is_noticed_whatever_it_does(make_hosts: Callable[..., Hosts], moment: str, number: int):
    hosts = make_hosts(2, epochs="9")
    # Beside other tests the last updates of an epoch took more than ten seconds on two slow cores.
    hosts.environment(SAGEMAKER_SSD_PROGRESS_SECONDS="25")
    hosts.start()
    hosts[number].until(moment)
    os.kill(hosts[number].child("worker"), signal.SIGSTOP)
    for end in hosts.end(SOON_SECONDS):
        assert end.code == 2, end.log
        assert end.failure is not None
        assert "made no progress: nothing for 25 seconds after" in end.failure
    assert left_running(hosts) == []


@pytest.mark.long
@pytest.mark.parametrize("kv_store", ["dist_sync", "dist_async"])
def test_a_host_may_wait_for_the_others_at_an_epochs_end(make_hosts: Callable[..., Hosts], kv_store: str):
    # Steps are short, and all together take longer than the limit on a machine that is not fast.
    given = {"kv_store": kv_store, "epochs": "1", "mini_batch_size": "1", "freeze_layer_pattern": "^(conv|bn|stage)"}
    hosts = make_hosts(2, "--train", "30", "--validation", "2", **given)
    hosts.environment(SAGEMAKER_SSD_PROGRESS_SECONDS="10")
    for host, kept in ((hosts[0], slice(0, 29)), (hosts[1], slice(29, 30))):
        own_shard(host, kept)
    ended = hosts.run()
    assert [end.code for end in ended] == [0, 0], ended[0].log + ended[1].log
    assert ended[0].metrics["data"]["train"]["images"] == 30


def test_a_wrong_environment_variable_of_one_host_is_told_on_all(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2)
    hosts[1].job.environment["SAGEMAKER_SSD_SILENCE_SECONDS"] = "0"
    first, second = hosts.run()
    assert (first.code, second.code) == (1, 1)
    assert second.failure is not None
    assert "environment variable SAGEMAKER_SSD_SILENCE_SECONDS is '0'" in second.failure
    assert first.failure == f"host {SECOND}: {second.failure}"


@pytest.mark.long
@pytest.mark.parametrize("stopped", [0, 1])
def test_a_stop_is_in_time_though_another_host_is_paused(make_hosts: Callable[..., Hosts], stopped: int):
    hosts = make_hosts(2, epochs="9")
    hosts.environment(SAGEMAKER_SSD_SILENCE_SECONDS="60")
    hosts.start()
    hosts[0].until("completed 11.1")
    signal_all(hosts[1 - stopped], signal.SIGSTOP)
    process = hosts[stopped].process
    assert process is not None
    process.terminate()
    ended = hosts[stopped].end(time.monotonic() + 10)
    signal_all(hosts[1 - stopped], signal.SIGCONT)
    # The first host has the model; the second cannot know.
    assert ended.code == (0 if stopped == 0 else 2), ended.log


def test_a_stop_while_late_hosts_are_waited_for(make_hosts: Callable[..., Hosts]):
    hosts = make_hosts(2, learning_rate="7")
    hosts[0].start()
    hosts[0].until("learning_rate is '7'")
    assert hosts[0].process is not None
    hosts[0].process.terminate()
    ended = hosts[0].end(time.monotonic() + 5)
    assert ended.code == 1


@pytest.mark.long
def test_another_job_on_the_same_port_leaves_a_running_one_alone(make_hosts: Callable[..., Hosts]):
    hosts, other = make_hosts(2, epochs="9"), make_hosts(2, epochs="5")
    other.environment(SAGEMAKER_SSD_PORT=hosts[0].job.environment["SAGEMAKER_SSD_PORT"])
    hosts.start()
    hosts[0].until("Start training.")
    stray = other[1]
    stray.start()
    ended = stray.end(time.monotonic() + SOON_SECONDS)
    assert ended.code == 1
    assert "hyperparameters" in (ended.failure or "")
    hosts[0].until("completed 11.1")
