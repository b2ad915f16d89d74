"""Compiled steps are torch's own, whatever the activation."""

import pytest
import torch
from conftest import parabola

from mlpfit.data.datamodule import ReplicaData, batches
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
@pytest.mark.parametrize("units", [(1, 5, 1), (1, 4, 3, 1), (1, 37, 30, 1)])
def test_compiled_steps_are_those_of_autograd(activation, units):
    assert layout.kernel_name(units) == ("wide" if units[1] == 37 else "narrow")
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


@pytest.mark.parametrize("order", [{"order": "slices", "start_below": 20}, {"order": "shuffle"}])
@pytest.mark.parametrize("hidden", [(5,), (6, 4), (30, 30)])
def test_rows_picked_in_the_kernel_are_those_of_the_batches_bit_for_bit(order, hidden):
    given = {"steps": 12, "batch_size": 7, "dtype": "float64"} | order
    chunk = ReplicaData(parabola(), [3, 4, 8], **given).chunk(2, 12)
    picked, units = batches(chunk), (1, *hidden, 1)
    assert (picked["weights"] is None) == (order["order"] == "slices")
    start = problem(units)[2]
    (net, optimizer), (other, other_optimizer) = (nets(units, "relu", start) for _ in range(2))
    whole = (chunk[name].expand(10, -1, -1, -1) for name in ("x", "y"))
    losses = compiled.CompiledSteps(net, "mse", optimizer)(*whole, order=chunk)
    expected = compiled.CompiledSteps(other, "mse", other_optimizer)(**picked)
    assert torch.equal(losses, expected)
    for ours, theirs in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(ours, theirs)
