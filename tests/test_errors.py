"""How faults become one text, and how a long one fits into SageMaker's 1,024 characters."""

import pytest

from sagemaker_ssd.errors import (
    FAILURE_REASON_LENGTH,
    PlatformError,
    ProgramError,
    UserError,
    internal_error,
    problems,
    reported_error,
    shorten,
    unexpected_error,
)


def test_one_fault_is_told_as_it_is_and_several_as_a_list():
    assert problems(["a is wrong"]) == "a is wrong"
    assert problems(["a is wrong", "b too"]) == "2 problems:\n- a is wrong\n- b too"


def test_exit_codes_say_who_can_mend_it():
    assert [kind("x").exit_code for kind in (UserError, PlatformError, ProgramError)] == [1, 2, 3]
    assert UserError("text").sentence == str(UserError("text")) == "text"


def test_a_short_text_stays():
    text = "x" * FAILURE_REASON_LENGTH
    assert shorten(text) is text


def test_a_long_list_is_cut_between_lines_and_says_how_many_are_missing():
    faults = [f"train_annotation/dog_{number}.json: box 2 has class_id 10" for number in range(40)]
    short = shorten(problems(faults))
    lines = short.splitlines()
    assert len(short) <= 1024
    assert lines[0] == "40 problems:"
    assert lines[1] == f"- {faults[0]}"
    kept = len(lines) - 2
    assert lines[-1] == f"... and {40 - kept} more lines: the job's log has them all"
    # One more line would not have fitted.
    assert len(short) + len(faults[0]) + 3 > 1024


@pytest.mark.parametrize("text", ["x" * 3000, "x" * 3000 + "\nsecond line"])
def test_a_line_that_is_too_long_is_cut_inside(text: str):
    short = shorten(text)
    assert len(short) == 1024
    assert short.endswith("x ... (the job's log has the rest)")


@pytest.mark.parametrize(
    ("exit_code", "kind"), [(1, UserError), (2, PlatformError), (3, ProgramError), (7, ProgramError)]
)
def test_a_reported_exit_code_names_the_error(exit_code: int, kind: type):
    error = reported_error(exit_code, "text")
    assert (type(error), error.sentence) == (kind, "text")


def test_a_bug_is_called_one():
    error = unexpected_error(ValueError("odd"))
    assert error.sentence == "ValueError: odd. This is a bug of this program; the job's log has the details"
    assert error.exit_code == 3
    error = internal_error("It broke", of="MXNet")
    assert error.sentence == "It broke. This is a bug of MXNet; the job's log has the details"
