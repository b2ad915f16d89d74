"""The initial parameters of one replica, drawn without torch."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np

Init = Literal["torch", "normal", "ones"]


def initial_parameters(units: Sequence[int], init: Init, rng: Any) -> list[np.ndarray]:
    """The initial parameters of one replica: [weight (in, out), bias (1, out), next layer's ...].

    ``torch``   as ``torch.nn.Linear``: weight and bias uniform on +-1/sqrt(fan_in)
    ``normal``  weights N(0, 1), biases 0 (as on the from-scratch pages)
    ``ones``    all parameters 1
    """
    parameters: list[np.ndarray] = []
    for fan_in, out in pairwise(units):
        if init == "ones":
            parameters += [np.ones((fan_in, out)), np.ones((1, out))]
        elif init == "normal":
            parameters += [rng.normal(0.0, 1.0, (fan_in, out)), np.zeros((1, out))]
        else:
            # torch writes the weight's bound as sqrt(3) gain / sqrt(fan_in), gain = sqrt(2 / 6).
            bound = math.sqrt(3.0) * (math.sqrt(2.0 / 6.0) / math.sqrt(fan_in))
            parameters.append(rng.uniform(-bound, bound, (out, fan_in)).T)  # torch stores (out, in)
            parameters.append(rng.uniform(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), (1, out)))
    return parameters
