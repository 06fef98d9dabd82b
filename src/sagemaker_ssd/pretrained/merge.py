"""Puts values from elsewhere into a network's starting values, and says which were taken."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sagemaker_ssd.ssd.initial_values import Parameters

# He's normal values keep the size of their input, and conv5_3 of ImageNet's VGG-16 gives root mean squares of 3.8 and
# 4.0 on photos of blood cells and of playing cards. relu7 and the maps behind it would get 5 to 6, for which the
# heads' steps at the default learning rate are too large: the losses rise again. Trained fc6 and fc7 give about 1.
_FC6_GAIN = 0.2
_CLASS_HEAD = re.compile(r"(.+)_cls_pred_conv_(weight|bias)")


@dataclass(frozen=True)
class Merged:
    """`parameters` of the whole network, and which names were `taken` from the given values.

    missing: names of the network that the given values lack. other_shape: names that both have, in different shapes, or
    class heads for other anchors; these and the missing ones keep their starting values. unused: names of the given
    values that the network lacks.
    """

    parameters: Parameters
    taken: tuple[str, ...]
    missing: tuple[str, ...]
    other_shape: tuple[str, ...]
    unused: tuple[str, ...]


def class_heads(names: Iterable[str]) -> tuple[str, ...]:
    """Return those of a network's parameters that belong to the heads for its classes."""
    return tuple(name for name in names if _CLASS_HEAD.fullmatch(name))


def _of_other_anchors(name: str, starting: Parameters, given: Parameters) -> bool:
    if (match := _CLASS_HEAD.fullmatch(name)) is None:
        return False
    offsets = f"{match[1]}_loc_pred_conv_{match[2]}"
    ours, theirs = starting.arguments.get(offsets), given.arguments.get(offsets)
    return ours is not None and theirs is not None and ours.shape != theirs.shape


def merged(starting: Parameters, given: Parameters) -> Merged:
    """Replace each starting value by the given one of the same name and shape.

    A class head is taken only where the offsets beside it have the starting shape too: with another number of anchors
    and another number of classes it may have the same shape by chance. A fresh fc6 behind a given conv5_3 is scaled to
    the activations of trained layers.
    """
    arguments, states = dict(starting.arguments), dict(starting.states)
    taken, other_shape, unused = [], [], []
    for target, source in ((arguments, given.arguments), (states, given.states)):
        for name, array in source.items():
            if name not in target:
                unused.append(name)
            elif target[name].shape != array.shape or _of_other_anchors(name, starting, given):
                other_shape.append(name)
            else:
                target[name] = array
                taken.append(name)
    if "conv5_3_weight" in taken and "fc6_weight" not in taken:
        arguments["fc6_weight"] = arguments["fc6_weight"] * _FC6_GAIN
    in_both = {*taken, *other_shape}
    return Merged(
        parameters=Parameters(arguments, states),
        taken=tuple(taken),
        missing=tuple(name for name in (*arguments, *states) if name not in in_both),
        other_shape=tuple(other_shape),
        unused=tuple(unused),
    )
