"""Early stopping as a table of cases, each worked out by hand."""

import pytest

from sagemaker_ssd.training.loop import EarlyStopping

CASES = [
    # min_epochs, patience, tolerance, mAP of the epochs so far, ends
    pytest.param(1, 1, 0.0, [], False, id="no epoch yet"),
    pytest.param(1, 1, 0.0, [0.5], False, id="the first epoch is the best so far"),
    pytest.param(1, 1, 0.0, [0.5, 0.5], True, id="an equal score is no improvement"),
    pytest.param(1, 1, 0.0, [0.5, 0.6], False, id="a better score"),
    pytest.param(1, 2, 0.0, [0.5, 0.4], False, id="one bad epoch of two allowed"),
    pytest.param(1, 2, 0.0, [0.5, 0.4, 0.45], True, id="better than the last one, not than the best"),
    pytest.param(1, 2, 0.0, [0.5, 0.4, 0.6, 0.5], False, id="an improvement starts the count again"),
    pytest.param(1, 2, 0.0, [0.5, 0.4, 0.6, 0.5, 0.5], True, id="and then it runs out"),
    pytest.param(5, 1, 0.0, [0.5, 0.4, 0.4, 0.4], False, id="not before min_epochs"),
    pytest.param(5, 1, 0.0, [0.5, 0.4, 0.4, 0.4, 0.4], True, id="at min_epochs"),
    pytest.param(5, 1, 0.0, [0.5, 0.4, 0.4, 0.4, 0.6], False, id="improved at min_epochs"),
    pytest.param(1, 1, 0.1, [0.5, 0.54], True, id="a gain of 8 % is below a tolerance of 10 %"),
    pytest.param(1, 1, 0.1, [0.5, 0.56], False, id="a gain of 12 % is not"),
    pytest.param(1, 1, 0.25, [0.5, 0.625], False, id="a gain of exactly the tolerance counts"),
    pytest.param(1, 2, 0.1, [0.5, 0.54, 0.56], False, id="small gains add up against the last improvement"),
    pytest.param(1, 2, 0.1, [0.5, 0.52, 0.54], True, id="unless they stay below"),
    pytest.param(1, 3, 0.0, [0.0, 0.0, 0.0], False, id="zero scores, two waited"),
    pytest.param(1, 3, 0.0, [0.0, 0.0, 0.0, 0.0], True, id="zero scores, three waited"),
    pytest.param(1, 1, 0.5, [0.0, 0.01], False, id="any gain over zero is without limit"),
    pytest.param(10, 5, 0.0, [0.1] * 9, False, id="the defaults, nine equal epochs"),
    pytest.param(10, 5, 0.0, [0.1] * 10, True, id="the defaults, ten equal epochs"),
]


@pytest.mark.parametrize(("min_epochs", "patience", "tolerance", "scores", "ends"), CASES)
def test_table(min_epochs: int, patience: int, tolerance: float, scores: list[float], ends: bool):
    assert EarlyStopping(min_epochs, patience, tolerance).ends(scores) is ends
