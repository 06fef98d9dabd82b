"""Puts values from elsewhere into a network's starting values, and says which were taken."""

from dataclasses import dataclass

from sagemaker_ssd.ssd.initial_values import Parameters

# He's normal values keep the size of their input, and conv5_3 of ImageNet's VGG-16 gives root mean squares of 3.8 and
# 4.0 on photos of blood cells and of playing cards. relu7 and the maps behind it would get 5 to 6, for which the
# heads' steps at the default learning rate are too large: the losses rise again. Trained fc6 and fc7 give about 1.
_FC6_GAIN = 0.2


@dataclass(frozen=True)
class Merged:
    """`parameters` of the whole network, and which names were `taken` from the given values.

    missing: names of the network that the given values lack. other_shape: names that both have, in different shapes;
    these and the missing ones keep their starting values. unused: names of the given values that the network lacks.
    """

    parameters: Parameters
    taken: tuple[str, ...]
    missing: tuple[str, ...]
    other_shape: tuple[str, ...]
    unused: tuple[str, ...]


def merged(starting: Parameters, given: Parameters) -> Merged:
    """Replace each starting value by the given one of the same name and shape.

    A fresh fc6 behind a given conv5_3 is scaled to the activations of trained layers.
    """
    arguments, states = dict(starting.arguments), dict(starting.states)
    taken, other_shape, unused = [], [], []
    for target, source in ((arguments, given.arguments), (states, given.states)):
        for name, array in source.items():
            if name not in target:
                unused.append(name)
            elif target[name].shape != array.shape:
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
