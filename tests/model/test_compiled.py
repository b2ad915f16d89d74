"""Compiled steps are torch's own, whatever the activation."""

import pytest
import torch

from mlpfit.model import compiled, layout, mlp

if compiled.compiler() is None:
    pytest.skip("no C++ compiler on this machine", allow_module_level=True)


def nets(units, activation, start):
    net = mlp.MLP(units, activation, 3).double()
    for parameter, values in zip(net.parameters(), start, strict=True):
        parameter.data.copy_(values)
    return net, torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.5)


def problem(units):
    """Rows of six steps of three replicas, and where they start."""
    generator = torch.Generator().manual_seed(len(units))
    x, y = (torch.randn(6, 3, 7, 1, generator=generator).double() for _ in range(2))
    shapes = [p.shape for p in mlp.MLP(units, "tanh", 3).parameters()]
    return x, y, [0.2 * torch.randn(shape, generator=generator) for shape in shapes]


@pytest.mark.parametrize("activation", mlp.ACTIVATIONS)
@pytest.mark.parametrize("units", [(1, 5, 1), (1, 37, 30, 1)])
def test_compiled_steps_are_those_of_autograd(activation, units):
    assert layout.kernel(units) == ("narrow" if len(units) == 3 else "wide")
    x, y, start = problem(units)
    (net, optimizer), (plain, plain_optimizer) = (nets(units, activation, start) for _ in range(2))
    losses, expected = compiled.CompiledSteps(net, "mse", optimizer)(x, y, None), []
    for rows, truth in zip(x, y, strict=True):
        plain_optimizer.zero_grad()
        loss = ((plain(rows) - truth) ** 2).mean((1, 2))
        loss.sum().backward()
        plain_optimizer.step()
        expected.append(loss.detach())
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-10, atol=0)
    for ours, theirs in zip(net.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("activation", mlp.ACTIVATIONS)
@pytest.mark.parametrize("units", [(1, 5, 1), (1, 37, 30, 1)])
def test_a_replica_that_diverges_leaves_those_after_it_alone(activation, units):
    """Widths that fill no vector: what fills them up must not carry NaN on."""
    x, y, start = problem(units)
    x[:, 0], y[:, 0] = 1e200, 1e200
    with_it, without = (nets(units, activation, start) for _ in range(2))
    losses = compiled.CompiledSteps(with_it[0], "mse", with_it[1])(x, y, None)
    assert not losses[-1, 0].isfinite()
    x[:, 0], y[:, 0] = 1, 1
    expected = compiled.CompiledSteps(without[0], "mse", without[1])(x, y, None)
    assert torch.equal(losses[:, 1:], expected[:, 1:])
    assert losses[:, 1:].isfinite().all()
