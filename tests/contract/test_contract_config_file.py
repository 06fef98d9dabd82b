"""Config files that cannot be read or hold the wrong things, and notices."""

import shutil
from pathlib import Path

import pytest

from another_user import open_folder, said_as_another_user
from sagemaker_ssd.contract.job import read_job
from sagemaker_ssd.errors import UserError

HYPERPARAMETERS = 'it must hold a JSON object of strings such as {"num_classes": "20", "num_training_samples": "1000"}'
CHANNELS = (
    'it must hold a JSON object of channels such as {"train": {"ContentType": "application/x-recordio"}, '
    '"validation": {"ContentType": "application/x-recordio"}}'
)
RESOURCES = 'it must hold a JSON object such as {"current_host": "algo-1", "hosts": ["algo-1"]}'
CHECKPOINTS = 'it must hold a JSON object such as {"LocalPath": "/opt/ml/checkpoints"}'
FILES = [
    ("hyperparameters.json", HYPERPARAMETERS),
    ("inputdataconfig.json", CHANNELS),
    ("resourceconfig.json", RESOURCES),
    ("checkpointconfig.json", CHECKPOINTS),
]
BROKEN = [
    (b"", "it is empty"),
    (b" \n\t", "it is empty"),
    (b'{"a": "1",\n "b" "2"}', "it is not JSON (Expecting ':' delimiter at line 2, column 6)"),
    (b"{'a': '1'}", "it is not JSON (Expecting property name enclosed in double quotes at line 1, column 2)"),
    (b'["a"]', 'it holds ["a"], which is not a JSON object'),
    (b"null", "it holds null, which is not a JSON object"),
    (b'{"a": "\xff"}', "it is not UTF-8 text (byte 8 of 10)"),
    (b"[" * 100_000, "it is nested too deeply"),
]


@pytest.mark.parametrize(("name", "must_hold"), FILES)
@pytest.mark.parametrize(("content", "text"), BROKEN, ids=lambda item: ascii(item)[:30])
def test_a_file_that_holds_no_object(tree, name, must_hold, content, text):
    tree.write()
    (tree.config / name).write_bytes(content)
    assert tree.faults_as_written() == [f"{name}: {text}; {must_hold}"]


@pytest.mark.parametrize(("name", "must_hold"), FILES)
def test_a_file_that_is_a_folder(tree, name, must_hold):
    tree.write()
    (tree.config / name).unlink(missing_ok=True)
    (tree.config / name).mkdir()
    assert tree.faults_as_written() == [f"{name}: {tree.config / name} is a folder, not a file; {must_hold}"]


@pytest.mark.parametrize(("name", "must_hold"), FILES)
def test_a_file_that_links_to_itself(tree, name, must_hold):
    tree.write()
    (tree.config / name).unlink(missing_ok=True)
    (tree.config / name).symlink_to(name)
    cannot = f"{tree.config / name} cannot be read (Too many levels of symbolic links)"
    assert tree.faults_as_written() == [f"{name}: {cannot}; {must_hold}"]


@pytest.mark.parametrize(("name", "must_hold"), FILES[:2])
def test_a_file_that_is_missing(tree, name, must_hold):
    tree.write()
    (tree.config / name).unlink()
    assert tree.faults_as_written() == [f"{name}: there is no file {tree.config / name}; {must_hold}"]


def sentence_as_another_user(base: Path) -> str:
    def read() -> str:
        with pytest.raises(UserError) as caught:
            read_job(base)
        return caught.value.sentence

    return said_as_another_user(read)


def test_files_that_another_user_may_not_read(tree):
    (tree.config / "checkpointconfig.json").write_text("{}")
    tree.write()
    with open_folder() as folder:
        base = folder / "ml"
        shutil.copytree(tree.base, base)
        config = base / "input" / "config"
        for file in config.iterdir():
            file.chmod(0)
        sentence = sentence_as_another_user(base)
    lines = sentence.splitlines()
    assert lines[0] == "4 problems:"
    assert sorted(lines[1:]) == sorted(
        f"- {name}: {config / name} cannot be read (Permission denied); {must_hold}" for name, must_hold in FILES
    )


def test_files_that_are_listed_and_cannot_be_looked_at(tree):
    """A folder that may be read and not be searched gives their names away, and nothing else."""
    tree.channels["model"] = {}
    tree.file("model/model.tar.gz")
    tree.write()
    with open_folder() as folder:
        base = folder / "ml"
        shutil.copytree(tree.base, base)
        data = base / "input" / "data"
        files = [data / "train" / "train.rec", data / "model" / "model.tar.gz"]
        for file in files:
            file.parent.chmod(0o444)
        sentence = sentence_as_another_user(base)
        for file in files:
            file.parent.chmod(0o755)
    assert sentence.splitlines() == ["2 problems:"] + [
        f"- {file}: it cannot be read (Permission denied); it and its folder must be readable" for file in files
    ]


def test_an_unreadable_config_folder_is_no_missing_file(tree):
    tree.write()
    for name, _ in FILES:
        (tree.config / name).unlink(missing_ok=True)
    tree.config.rmdir()
    tree.config.write_text("a file where the folder should be")
    faults = tree.faults_as_written()
    assert [fault.partition(":")[0] for fault in faults] == ["hyperparameters.json", "inputdataconfig.json"]


def test_a_byte_order_mark_is_accepted(tree):
    tree.write()
    for file in tree.config.iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_job(tree.base).hyperparameters.num_classes == 3


def test_a_key_given_twice_is_told_with_the_other_faults(tree):
    tree.write()
    (tree.config / "hyperparameters.json").write_text(
        '{"num_classes": "3", "num_training_samples": "5", "num_classes": "x", "use_pretrained_model": "0"}'
    )
    (tree.config / "inputdataconfig.json").write_text('{"train": {"a": 1, "a": 2, "a": 3}, "validation": {}}')
    assert tree.faults_as_written() == [
        "hyperparameters.json: num_classes is given more than once",
        "hyperparameters.json: num_classes is 'x'; it must be a whole number from 1 to 38835",
        "inputdataconfig.json: a is given more than once",
    ]


NAME = "must be the name of this host, such as 'algo-1'"
NAMES = 'must be a list of names, such as ["algo-1"]'
RESOURCE_FAULTS = [
    ({}, [f"current_host is missing; it {NAME}", f"hosts is missing; it {NAMES}"]),
    ({"current_host": 1, "hosts": "algo-1"}, [f"current_host is 1; it {NAME}", f"hosts is 'algo-1'; it {NAMES}"]),
    ({"current_host": "", "hosts": []}, [f"current_host is ''; it {NAME}", f"hosts is []; it {NAMES}"]),
    ({"current_host": "a", "hosts": ["a", 2]}, [f'hosts is ["a", 2]; it {NAMES}']),
    ({"current_host": "a", "hosts": ["a", "a"]}, ['hosts is ["a", "a"]; every host must be listed once']),
    (
        {"current_host": "algo-3", "hosts": ["algo-1"]},
        ["current_host is 'algo-3', which is not among the hosts [\"algo-1\"]"],
    ),
    (
        {"current_host": "algo-3", "hosts": ["algo-1", "algo-2"]},
        ['current_host is \'algo-3\', which is not among the hosts ["algo-1", "algo-2"]'],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resources", "texts"), RESOURCE_FAULTS)
def test_wrong_resources(tree, resources, texts):
    tree.resources = resources
    tree.hyperparameters["kv_store"] = "dist_sync"
    assert tree.faults() == [f"resourceconfig.json: {text}" for text in texts]


def test_resources_of_a_new_platform_are_read(tree):
    tree.resources = {
        "current_host": "algo-1",
        "hosts": ["algo-1"],
        "current_group_name": "homogeneousCluster",
        "instance_groups": [{"hosts": ["algo-1"]}],
        "topology": None,
    }
    job = tree.read()
    assert (job.cluster.current_host, job.cluster.hosts) == ("algo-1", ("algo-1",))
    assert job.notices == ()


def test_without_resources_the_job_runs_on_one_host(tree):
    tree.write()
    (tree.config / "resourceconfig.json").unlink()
    job = read_job(tree.base)
    assert job.cluster.hosts == ("algo-1",)
    assert job.notices == ("resourceconfig.json: there is no such file, so the job runs on one host, algo-1",)


def test_checkpoints(tree):
    assert tree.read().checkpoints is None
    config = tree.config / "checkpointconfig.json"
    config.write_text("{}")
    assert tree.read().checkpoints == tree.base / "checkpoints"
    config.write_text('{"S3Uri": "s3://b/c", "LocalPath": "/elsewhere/kept"}')
    assert tree.read().checkpoints == Path("/elsewhere/kept")
    assert tree.read().notices == ()


@pytest.mark.parametrize("given", ["7", '""', '"kept"', '"s3://b/c"', '"~/x"', r'"/a\u0000b"', r'"/\ud800"'])
def test_a_folder_for_checkpoints_is_an_absolute_path(tree, given):
    tree.write()
    (tree.config / "checkpointconfig.json").write_text(f'{{"LocalPath": {given}}}')
    (fault,) = tree.faults_as_written()
    assert fault.startswith("checkpointconfig.json: LocalPath is ")
    assert fault.endswith("; it must be a folder's path in quotes, such as /opt/ml/checkpoints")


@pytest.mark.parametrize(
    "given", ["/opt/ml", "/opt/ml/model", "/opt/ml/output/data/x", "/opt/ml/input/data/train", "/"]
)
def test_checkpoints_do_not_lie_among_other_things(tree, given):
    tree.write()
    (tree.config / "checkpointconfig.json").write_text(f'{{"LocalPath": "{given}"}}')
    (fault,) = tree.faults_as_written()
    assert f"LocalPath is '{given}'; checkpoints must not lie in or above {tree.base}/" in fault


@pytest.mark.parametrize(("given", "below_the_base"), [("/opt/ml/checkpoints", "checkpoints"), ("/opt/ml/a/b/", "a/b")])
def test_checkpoints_below_opt_ml_are_below_the_jobs_own_folder(tree, given, below_the_base):
    # As all other folders of the job are, where SAGEMAKER_BASE_DIR names another one.
    (tree.config / "checkpointconfig.json").write_text(f'{{"LocalPath": "{given}"}}')
    assert tree.read().checkpoints == tree.base / below_the_base


def test_each_trial_of_a_tuning_job_has_checkpoints_of_its_own(tree, monkeypatch):
    monkeypatch.setenv("TRAINING_JOB_NAME", "cards-230101-0007-1a2b3c4d")
    (tree.base / "checkpoints").mkdir()
    # The built-in's artifacts have the key too, with nothing in it.
    tree.hyperparameters["_tuning_objective_metric"] = ""
    assert tree.read().checkpoints == tree.base / "checkpoints"
    tree.hyperparameters["_tuning_objective_metric"] = "validation:mAP"
    own = tree.base / "checkpoints" / "cards-230101-0007-1a2b3c4d"
    trial = tree.read()
    assert (trial.checkpoints, trial.notices) == (own, ())
    # Of a job that was given a trial's hyperparameters only later.
    (tree.base / "checkpoints" / "sagemaker-ssd-0003.json").write_text("{}")
    assert tree.read().notices == (
        f"hyperparameters.json has _tuning_objective_metric, as a trial of a tuning job: checkpoints go to {own}, and "
        f"those in {tree.base / 'checkpoints'} are left alone; to go on from them, leave it out",
    )
    monkeypatch.delenv("TRAINING_JOB_NAME")
    assert tree.read().checkpoints == tree.base / "checkpoints"


def test_the_usual_folder_for_checkpoints_is_used_where_it_exists(tree):
    usual = tree.base / "checkpoints"
    assert tree.read().checkpoints is None
    usual.write_text("a file")
    assert tree.faults() == [f"{usual} is not a folder: remove it, or make it the folder for checkpoints"]
    usual.unlink()
    # As a mount that is gone: there is something, and it cannot be looked at.
    usual.symlink_to("x" * 300)
    cannot = f"{usual} cannot be read (File name too long): remove it, or make it the folder for checkpoints"
    assert tree.faults() == [cannot]
    (tree.config / "checkpointconfig.json").write_text("{}")
    assert tree.faults() == [cannot]
    (tree.config / "checkpointconfig.json").unlink()
    usual.unlink()
    usual.mkdir()
    assert tree.read().checkpoints == usual
    (tree.config / "checkpointconfig.json").write_text('{"LocalPath": "/opt/ml/others"}')
    assert tree.read().checkpoints == tree.base / "others"


UNUSED = "is given, but optimizer {} does not use it"
NOTICES = [
    ({"optimizer": "adadelta", "learning_rate": "0.1"}, [f"learning_rate {UNUSED.format('adadelta')}"]),
    (
        {"optimizer": "adadelta", "lr_scheduler_step": "3", "warmup_epochs": "1"},
        [f"lr_scheduler_step {UNUSED.format('adadelta')}", f"warmup_epochs {UNUSED.format('adadelta')}"],
    ),
    ({"optimizer": "rmsprop", "momentum": "0.9"}, [f"momentum {UNUSED.format('rmsprop')}"]),
    (
        {"optimizer": "adam", "momentum": "0.9", "weight_decay": "0", "learning_rate": "0.1"},
        [f"momentum {UNUSED.format('adam')}", f"weight_decay {UNUSED.format('adam')}"],
    ),
    ({"optimizer": "rmsprop", "weight_decay": "0.1", "momentum": ""}, []),
    ({"optimizer": "sgd", "weight_decay": "0.1", "momentum": "0.5", "learning_rate": "0.1"}, []),
    ({"optimizer": "adadelta"}, []),
    ({"kv_store": "dist_sync"}, ["kv_store is 'dist_sync', which is not applicable on one host"]),
    ({"kv_store": "dist_async"}, ["kv_store is 'dist_async', which is not applicable on one host"]),
    ({"kv_store": "-"}, []),
    (
        {"early_stopping_patience": "3", "early_stopping_min_epochs": "10", "early_stopping_tolerance": "0.10"},
        [
            "early_stopping_patience is given, but has no effect without early_stopping",
            "early_stopping_tolerance is given, but has no effect without early_stopping",
        ],
    ),
    ({"early_stopping_patience": "5", "early_stopping_min_epochs": "10", "early_stopping_tolerance": "0"}, []),
    ({"early_stopping_patience": "3", "early_stopping": "True"}, []),
    (
        {"early_stopping": "True", "epochs": "10"},
        [
            "early_stopping is on, but with early_stopping_min_epochs 10 and early_stopping_patience 5 it cannot end a "
            "job of 10 epochs"
        ],
    ),
    (
        {"early_stopping": "True", "epochs": "20", "early_stopping_patience": "19"},
        [
            "early_stopping is on, but with early_stopping_min_epochs 10 and early_stopping_patience 19 it cannot end "
            "a job of 20 epochs"
        ],
    ),
    ({"early_stopping": "True", "epochs": "20", "early_stopping_patience": "18"}, []),
    ({"lr_scheduler_factor": "0.5"}, ["lr_scheduler_factor is given, but has no effect without lr_scheduler_step"]),
    ({"lr_scheduler_factor": "0.10"}, []),
    ({"lr_scheduler_factor": "0.5", "lr_scheduler_step": "7"}, []),
    (
        {"lr_scheduler_step": "10,40,50"},
        ["lr_scheduler_step has 40 and 50, but the job ends after epoch 30: no effect"],
    ),
    ({"lr_scheduler_step": "30"}, ["lr_scheduler_step has 30, but the job ends after epoch 30: no effect"]),
    ({"lr_scheduler_step": "29"}, []),
    (
        {"warmup_epochs": "40"},
        ["warmup_epochs is 40 and epochs 30: the job ends with its warm-up, at 75% of learning_rate"],
    ),
    ({"warmup_epochs": "29"}, []),
    (
        {"warmup_epochs": "5", "lr_scheduler_step": "2,4,5,8"},
        [
            "lr_scheduler_step has 2 and 4, within the 5 epochs of warmup_epochs: learning_rate falls when these are "
            "over"
        ],
    ),
    ({"_begin_epoch": "5"}, ["_begin_epoch is '5', which has no effect in this version"]),
    ({"_kvstore": "dist_sync"}, ["_kvstore is 'dist_sync', which has no effect in this version"]),
    ({"_num_kv_servers": "2"}, ["_num_kv_servers is '2', which has no effect in this version"]),
]


@pytest.mark.parametrize(("given", "notices"), NOTICES)
def test_what_does_nothing_is_noticed(tree, given, notices):
    tree.hyperparameters |= given
    assert list(tree.read().notices) == notices


def test_faults_of_all_files_are_told_together(tree):
    tree.hyperparameters = {"num_classes": "3", "learning_rate": "0,001", "use_pretrained_model": "0"}
    tree.channels = {"train": {"ContentType": "text/csv"}, "model": {}}
    tree.resources = {"current_host": "algo-1", "hosts": "algo-1"}
    (tree.config / "checkpointconfig.json").write_text("[]")
    assert tree.faults() == [
        "hyperparameters.json: num_training_samples is required: a whole number, 1 or more",
        "hyperparameters.json: learning_rate is '0,001', which is not a number; write 0.001",
        f"resourceconfig.json: hosts is 'algo-1'; it {NAMES}",
        "inputdataconfig.json: train: ContentType is 'text/csv'; it must be application/x-recordio, or for images "
        "image/jpeg, image/png or application/x-image",
        "inputdataconfig.json: the validation channel is required, because the mAP that picks the best model is "
        "computed on it; channels given: train, model",
        "input/data/model: there is no such folder; the data of the model channel must be there",
        f"checkpointconfig.json: it holds [], which is not a JSON object; {CHECKPOINTS}",
    ]
