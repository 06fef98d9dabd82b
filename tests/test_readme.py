"""The README says what the code does."""

from pathlib import Path

from sagemaker_ssd.contract import hyperparameter_table

README = (Path(__file__).parent.parent / "README.md").read_text()


def test_the_table_of_hyperparameters_is_the_declarations():
    begin, end = "<!-- hyperparameters -->\n", "<!-- /hyperparameters -->"
    shown = README[README.index(begin) + len(begin) : README.index(end)]
    assert shown.strip() == hyperparameter_table().strip()


def test_every_make_target_it_names_exists():
    makefile = (Path(__file__).parent.parent / "Makefile").read_text()
    named = {line.split()[1] for line in README.splitlines() if line.startswith("make ")}
    assert named >= {"train", "setup", "test", "lint"}
    assert all(f"\n{target}:" in makefile for target in named)
