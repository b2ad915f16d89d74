"""Sharpness: the largest eigenvalue of the loss's Hessian. Gradient descent is stable at learning
rates below 2 / sharpness."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mlpfit.model import losses, mlp


def sharpness(
    layers: Sequence[tuple[np.ndarray, np.ndarray]],
    x: np.ndarray,
    y: np.ndarray,
    kind: losses.Kind,
    activation: mlp.Activation,
) -> np.ndarray:
    """Sharpness (R,) of the loss on rows x (R, n, d), y (R, n, 1) at these layers (weight (R, in,
    out), bias (R, 1, out)); infinite where a Hessian is not finite.

    Near a minimum, gradient descent with learning rate h multiplies the distance along an
    eigenvector by 1 - h lambda, so it stays bounded while h < 2 / lambda (Nesterov 2004, section
    1.2.3).
    """
    arrays = [torch.from_numpy(array).double() for layer in layers for array in layer]
    rows = (torch.tensor(values, dtype=torch.float64) for values in (x, y))
    sizes = [array[0].numel() for array in arrays]
    flat = torch.cat([array.flatten(1) for array in arrays], dim=1)  # (R, parameters)

    def loss(parameters: Tensor, x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(parameters.split(sizes), arrays, strict=True)
        shaped = [values.view(1, *array.shape[1:]) for values, array in pairs]
        outputs = mlp.outputs(
            list(zip(shaped[::2], shaped[1::2], strict=True)), x[None], activation
        )
        return losses.loss(kind, outputs[-1], y[None])[0]

    hessians = torch.func.vmap(torch.func.hessian(loss))(flat, *rows)
    finite = hessians.isfinite().all((1, 2))
    largest = np.full(len(flat), np.inf)
    largest[finite.numpy()] = torch.linalg.eigvalsh(hessians[finite])[:, -1].numpy()
    return largest
