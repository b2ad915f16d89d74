"""The largest eigenvalue of the loss's Hessian: plain descent is stable below the learning rate 2 /
sharpness."""

import numpy as np
import torch
from torch import Tensor

from mlpfit.model import losses, mlp
from mlpfit.runs.run import Run


def sharpness(run: Run, step: int | None) -> np.ndarray:
    """Largest eigenvalue (R,) of the Hessian of the training loss on all of each replica's rows,
    after that many steps (None: the last). Near a minimum, gradient descent with learning rate h
    multiplies the distance along an eigenvector by 1 - h lambda, so it stays bounded while h < 2 /
    lambda (Nesterov 2004, section 1.2.3).

    Infinite where a replica's weights are not finite.
    """
    layers = [torch.from_numpy(array).double() for layer in run.parameters(step) for array in layer]
    x, y = (torch.tensor(run.data[name], dtype=torch.float64) for name in ("x", "y"))
    sizes = [parameter[0].numel() for parameter in layers]
    flat = torch.cat([parameter.flatten(1) for parameter in layers], dim=1)  # (R, P)

    def loss(weights: Tensor, x: Tensor, y: Tensor) -> Tensor:
        parts = [w.view(1, *p.shape[1:]) for w, p in zip(weights.split(sizes), layers, strict=True)]
        activations = mlp.outputs(
            list(zip(parts[::2], parts[1::2], strict=True)),
            x[None],
            run.config["model"]["activation"],
        )
        return losses.loss(run.config["loss"], activations[-1], y[None])[0]

    hessians = torch.func.vmap(torch.func.hessian(loss))(flat, x, y)
    finite = hessians.isfinite().all((1, 2))
    largest = np.full(len(flat), np.inf)
    largest[finite.numpy()] = torch.linalg.eigvalsh(hessians[finite])[:, -1].numpy()
    return largest
