"""The largest eigenvalue of the loss's Hessian: plain descent is stable below the learning rate 2 /
sharpness."""

import numpy as np
import torch
from torch import Tensor

from mlpfit.model import losses, mlp
from mlpfit.runs.run import Run


def sharpness(run: Run, step: int | None) -> np.ndarray:
    """Largest eigenvalue of the Hessian of the training loss on all rows, after this many steps
    (None: all): (R,), infinite where a replica's weights are not finite.

    Near a minimum, gradient descent with learning rate h multiplies the distance along an
    eigenvector by 1 - h lambda, so it stays bounded while h < 2 / lambda (Nesterov 2004, section
    1.2.3).
    """
    arrays = [torch.from_numpy(array).double() for layer in run.parameters(step) for array in layer]
    x, y = (torch.tensor(run.data[name], dtype=torch.float64) for name in ("x", "y"))
    sizes = [array[0].numel() for array in arrays]
    flat = torch.cat([array.flatten(1) for array in arrays], dim=1)  # (R, parameters)

    def loss(parameters: Tensor, x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(parameters.split(sizes), arrays, strict=True)
        shaped = [values.view(1, *array.shape[1:]) for values, array in pairs]
        layers = list(zip(shaped[::2], shaped[1::2], strict=True))
        outputs = mlp.outputs(layers, x[None], run.config["model"]["activation"])
        return losses.loss(run.config["loss"], outputs[-1], y[None])[0]

    hessians = torch.func.vmap(torch.func.hessian(loss))(flat, x, y)
    finite = hessians.isfinite().all((1, 2))
    largest = np.full(len(flat), np.inf)
    largest[finite.numpy()] = torch.linalg.eigvalsh(hessians[finite])[:, -1].numpy()
    return largest
