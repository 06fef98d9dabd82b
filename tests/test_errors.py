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
    some,
    unexpected_error,
)


def test_one_fault_is_told_as_it_is_and_several_as_a_list():
    assert problems(["a is wrong"]) == "a is wrong"
    assert problems(["a is wrong", "b too"]) == "2 problems:\n- a is wrong\n- b too"


def test_of_many_words_the_first_ones_are_told():
    assert (some([]), some(["a"]), some(["a", "b"], 2)) == ("", "a", "a, b")
    assert some([f"w{number}" for number in range(2005)]) == "w0, w1, w2, w3, w4 and 2,000 more"


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


def test_a_line_that_is_too_long_is_cut_inside():
    short = shorten("x" * 3000)
    assert len(short) == 1024
    assert short.endswith("x ... (the job's log has the rest)")


def test_beside_a_line_that_is_cut_a_short_one_is_whole():
    short = shorten("x" * 3000 + "\nsecond line")
    # 17 characters less than there are: as much is kept for the number of lines that are left out.
    assert 1024 - 20 < len(short) <= 1024
    assert short.endswith("x ...\nsecond line\n... (the job's log has the rest)")


@pytest.mark.parametrize(
    ("others", "last"),
    [
        (["b: short", "c: short"], "\n- b: short\n- c: short\n... (the job's log has the rest)"),
        # What is long too makes room for what is short.
        (["b" * 400, "c: short"], "\n- c: short\n... and 1 more lines: the job's log has them all"),
        (["b" * 3000, "c" * 3000], " ...\n... and 2 more lines: the job's log has them all"),
    ],
)
def test_the_first_fault_is_there_however_long_it_is(others: list[str], last: str):
    first = "a.json: " + "x" * 1500
    short = shorten(problems([first, *others]))
    assert 1024 - 20 < len(short) <= 1024
    assert short.startswith("3 problems:\n- a.json: " + "x" * 800)
    assert short.endswith(last)


def test_short_faults_leave_a_long_one_at_least_half():
    first, others = "a.json: " + "x" * 1500, [f"b{number}.json: {'y' * 90}" for number in range(20)]
    lines = shorten(problems([first, *others])).splitlines()
    assert lines[0] == "21 problems:"
    assert len(lines[1]) > 460
    # The room of 961 characters is halved: 4 lines of 102 characters and their ends, and no fifth.
    assert lines[2:6] == [f"- {other}" for other in others[:4]]
    assert lines[6:] == ["... and 16 more lines: the job's log has them all"]


def test_after_a_first_fault_that_is_whole_those_that_fit_follow():
    first, others = "a: " + "x" * 500, ["b" * 600, "c: short", "d" * 600]
    assert shorten(problems([first, *others])).splitlines() == [
        "4 problems:",
        f"- {first}",
        "- c: short",
        "... and 2 more lines: the job's log has them all",
    ]


def test_a_list_of_many_faults_is_shortened_at_once():
    text = problems([f"f{number}: {'x' * 100}" for number in range(200_000)])
    assert len(shorten(text)) <= 1024
    assert len(shorten(text, 100_000)) <= 100_000


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
