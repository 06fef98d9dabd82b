"""When a worker that is waited for has been quiet for too long."""

from sagemaker_ssd.launch.progress import Progress


def test_a_worker_that_has_said_nothing_may_take_its_time():
    progress = Progress()
    assert [progress.step(1.0) for _ in range(1000)] == [None] * 1000


def test_the_last_thing_done_is_named():
    progress = Progress()
    progress.made("epoch 0, batch 3 of 9", 5.0)
    assert [progress.step(1.0) for _ in range(5)] == [None] * 5
    assert progress.step(1.0) == "nothing for 5 seconds after epoch 0, batch 3 of 9"


def test_whatever_is_done_begins_the_count_anew():
    progress = Progress()
    for _ in range(10):
        progress.made("a batch", 1.5)
        assert progress.step(1.0) is None
    progress.made("the weights after epoch 0", None)
    assert [progress.step(1.0) for _ in range(100)] == [None] * 100


def test_time_that_was_slept_through_does_not_count():
    progress = Progress()
    progress.made("a batch", 60.0)
    assert progress.step(3600.0) is None
    assert progress.step(1.0) is None
