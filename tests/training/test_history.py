"""Which epoch is the best one."""

import pytest

from sagemaker_ssd.training.loop import EarlyStopping
from sagemaker_ssd.training.state import History


def best(*epochs: tuple[float, float]) -> tuple[list[bool], int]:
    history = History()
    kept = [history.add({"epoch": number}, *epoch) for number, epoch in enumerate(epochs)]
    assert [figures["epoch"] for figures in history.epochs] == list(range(len(epochs)))
    assert history.scores == [score for score, _ in epochs]
    return kept, history.best_epoch


def test_the_highest_map_is_the_best_and_the_first_of_equals():
    assert best((0.1, 3.0), (0.3, 5.0), (0.3, 1.0), (0.2, 0.5)) == ([True, True, False, False], 1)


def test_the_lowest_loss_is_the_best_while_nothing_is_detected():
    assert best((0.0, 3.0), (0.0, 4.0), (0.0, 2.0), (0.0, 2.5)) == ([True, False, True, False], 2)


def test_the_first_detection_is_better_than_any_loss():
    assert best((0.0, 1.0), (0.01, 9.0), (0.0, 0.5)) == ([True, True, False], 1)


def test_it_goes_on_as_if_never_interrupted():
    epochs = [(0.0, 3.0), (0.0, 4.0), (0.0, 3.5), (0.2, 9.0), (0.1, 1.0)]
    for place in range(1, len(epochs)):
        straight, before = History(), History()
        for number, epoch in enumerate(epochs):
            straight.add({"epoch": number}, *epoch)
            if number < place:
                before.add({"epoch": number}, *epoch)
        after = History(list(before.epochs), list(before.scores), before.lowest_loss, before.best_epoch)
        for number, epoch in enumerate(epochs[place:], start=place):
            after.add({"epoch": number}, *epoch)
        assert after == straight


def test_where_the_best_model_was_lost_the_one_that_is_kept_counts():
    # After epochs of .6 and .4 the arrays of the first are gone: .5 is better than what is left.
    history = History([{}, {}], [0.6, 0.4], lowest_loss=1.0, best_epoch=1)
    assert history.best_score == 0.4
    assert history.add({}, 0.5, 9.0)
    assert (history.best_epoch, history.best_score) == (2, 0.5)
    # The model stays that of the best epoch, whatever the latest one brings.
    assert not history.add({}, 0.1, 9.0)
    assert history.best_score == 0.5


@pytest.mark.parametrize(
    ("scores", "kept", "later", "ends"),
    [
        # .8 was lost and .5 is what is kept: every one of the later epochs is better than all that is left.
        ([0.2, 0.8, 0.5], 2, [0.55, 0.6], False),
        ([0.2, 0.8, 0.5], 2, [0.55, 0.5], False),
        ([0.2, 0.8, 0.5], 2, [0.55, 0.5, 0.4], True),
        ([0.2, 0.8, 0.5], 2, [0.4], False),
        ([0.2, 0.8, 0.5], 2, [0.4, 0.5], True),
        # Nothing was lost.
        ([0.2, 0.8, 0.5], 1, [0.7], True),
    ],
)
def test_patience_begins_anew_where_the_best_model_was_lost(scores, kept, later, ends):
    history = History([{} for _ in scores], list(scores), 1.0, kept)
    for score in later:
        history.add({}, score, 9.0)
    compared, since = history.patience_scores()
    assert EarlyStopping(1, 2, 0.0).ends(compared, since=since) is ends


def test_with_other_validation_data_only_the_best_model_counts_by_its_new_score():
    history = History([{}, {"epoch": 1, "validation": {"mAP": 0.9}}, {}], [0.3, 0.9, 0.8], 1.0, best_epoch=1)
    history.rescore({"mAP": 0.2}, 0.2)
    # The .3 of the first epoch is of other data, and neither it nor the .9 is compared with what comes.
    assert history.scores == [0.0, 0.2, 0.0]
    assert history.epochs[1] == {"epoch": 1, "validation": {"mAP": 0.2}}
    assert history.validation_since == 3
    assert not history.add({}, 0.15, 9.0)
    assert history.add({}, 0.25, 9.0)
    assert history.best_epoch == 4


@pytest.mark.parametrize(
    ("scores", "best", "rescored", "later", "ends"),
    [
        # One epoch without a gain on the data of now, whatever the ones before were: two are waited for.
        ([0.3, 0.9, 0.8], 1, 0.2, [0.15], False),
        ([0.3, 0.9, 0.8], 1, 0.2, [0.15, 0.2], True),
        ([0.3, 0.9, 0.8], 1, 0.2, [0.15, 0.25], False),
        ([0.3, 0.9, 0.8], 1, 0.2, [0.25, 0.15, 0.1], True),
        # A best model that finds nothing of the new data, long ago.
        ([0.1, 0.2, 0.3, 0.2, 0.4], 4, 0.0, [0.0], False),
        ([0.1, 0.2, 0.3, 0.2, 0.4], 4, 0.0, [0.0, 0.0], True),
        ([0.1, 0.2, 0.3, 0.2, 0.4], 4, 0.0, [0.0, 0.1], False),
        # Not yet an epoch on them.
        ([0.9, 0.8, 0.7], 0, 0.9, [], False),
    ],
)
def test_patience_begins_anew_with_other_validation_data(scores, best, rescored, later, ends):
    history = History([{} for _ in scores], list(scores), 1.0, best)
    history.rescore({}, rescored)
    for score in later:
        history.add({}, score, 9.0)
    compared, since = history.patience_scores()
    assert EarlyStopping(1, 2, 0.0).ends(compared, since=since) is ends


def test_a_second_change_of_the_validation_data_counts_like_the_first():
    history = History([{}, {}, {}], [0.3, 0.9, 0.8], 1.0, best_epoch=1)
    history.rescore({}, 0.5)
    history.add({}, 0.6, 9.0)
    history.add({}, 0.4, 9.0)
    history.rescore({"mAP": 0.1}, 0.1)
    assert (history.scores, history.validation_since) == ([0.0, 0.0, 0.0, 0.1, 0.0], 5)
    assert (history.epochs[3], history.best_epoch) == ({"validation": {"mAP": 0.1}}, 3)
    history.add({}, 0.05, 9.0)
    compared, since = history.patience_scores()
    assert not EarlyStopping(1, 2, 0.0).ends(compared, since=since)
