"""The failure of a training that has left the range of numbers."""

from sagemaker_ssd.errors import UserError


def diverged(what: str, learning_rate: float) -> UserError:
    """Return the failure; `what` says which values are not finite, and when."""
    return UserError(
        f"training diverged: {what} (counted from 0; learning rate {learning_rate:g}). The model of the best epoch "
        f"before it, if any, is kept. Lower learning_rate (try {learning_rate / 10:g}), or limit the gradients with "
        "clip_gradient (try 5), or start slowly with warmup_epochs (try 1)"
    )
