"""The README's table of hyperparameters, made from their declaration."""

from sagemaker_ssd.contract.hyperparameters import OwnHyperparameters
from sagemaker_ssd.contract.specification import SpecifiedHyperparameters
from sagemaker_ssd.contract.wording import allowed, written


def hyperparameter_table() -> str:
    """Give a GitHub markdown table of name, allowed values, default and meaning; ours are marked."""
    lines = ["| name | allowed | default | meaning |", "|---|---|---|---|"]
    for model, remark in ((SpecifiedHyperparameters, ""), (OwnHyperparameters, " (not documented for the built-in)")):
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else f"`{written(field.default, field)}`"
            if not field.is_required() and field.default in (None, ()):
                default = "not set"
            cells = (f"`{name}`", allowed(field), default, f"{field.description}{remark}")
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(lines) + "\n"
