"""Every odd input: its outcome, its sentence, its pixels; `pytest -s` prints the table."""

import time

import image_cases
import table

from sagemaker_ssd.channels.images import examine_image


def test_every_case_is_as_expected() -> None:
    found = table.rows()
    print("\n" + table.written(found))
    wrong = {f"{row.case.group}: {row.case.name}": faults for row in found if (faults := table.faults(row))}
    assert not wrong, wrong


def test_names_are_unique() -> None:
    names = [(case.group, case.name) for case in table.CASES]
    assert len(set(names)) == len(names)


def test_what_a_damaged_header_claims_costs_nothing() -> None:
    begun = time.monotonic()
    for image in (image_cases.claiming_png(), image_cases.claiming_jpeg()):
        assert examine_image(image).fault
    assert time.monotonic() - begun < 0.1
