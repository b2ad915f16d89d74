"""The hand-derived gradient, the losses and the initial weights."""

import itertools
from typing import get_args

import numpy as np
import pytest
import torch

from mlpfit.data.streams import streams
from mlpfit.model import losses, mlp
from mlpfit.model.mlp import MLP, initial_parameters


def random_nets(units, activation, replicas, generator):
    net = MLP(units, activation, replicas).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return net


@pytest.mark.parametrize("activation", mlp.SLOPES)
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3), (5, 4, 3)])
@pytest.mark.parametrize("kind", get_args(losses.Kind))
@pytest.mark.parametrize("weighted", [False, True])
def test_gradient_by_hand_equals_autograd(activation, hidden, kind, weighted):
    generator = torch.Generator().manual_seed(len(hidden))
    net = random_nets((2, *hidden, 1), activation, 3, generator)
    x, y = (torch.randn(3, 7, d, generator=generator, dtype=torch.float64) for d in (2, 1))
    weights = (
        torch.tensor([[1.0] * 7, [1.0] * 4 + [0.0] * 3, [1.0] + [0.0] * 6]).double()
        if weighted
        else None
    )
    inputs = [x.requires_grad_(), *net.parameters()]
    by_autograd = torch.autograd.grad(losses.loss(kind, net(x), y, weights).sum(), inputs)
    net.gradient = "by_hand"
    by_hand = torch.autograd.grad(losses.loss(kind, net(x), y, weights).sum(), inputs)
    for ours, expected in zip(by_hand, by_autograd, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", losses.SQUARES)
@pytest.mark.parametrize("weights", [None, torch.tensor([[1.0, 1, 1], [1, 0, 1]])])
def test_the_derivative_of_a_loss_is_that_of_autograd(kind, weights):
    p, y = torch.randn(2, 3, 1, generator=torch.Generator().manual_seed(1)), torch.ones(2, 3, 1)
    loss = losses.loss(kind, p.requires_grad_(), y, weights).sum()
    (expected,) = torch.autograd.grad(loss, p)
    torch.testing.assert_close(losses.derivative(kind, p, y, weights), expected)


@pytest.mark.parametrize("name", mlp.ACTIVATIONS)
def test_an_activation_maps_each_number_by_itself_and_has_torchs_name(name):
    x = torch.linspace(-4, 4, 24).view(2, 3, 4)
    with torch.random.fork_rng():
        values = mlp.ACTIVATIONS[name](x)
    one_by_one = torch.stack([mlp.ACTIVATIONS[name](number) for number in x.flatten()])
    torch.testing.assert_close(values.flatten(), one_by_one)
    if name != "identity":
        assert torch.equal(values, getattr(torch.nn.functional, name)(x))


def test_a_loss_is_that_of_its_formula():
    e, y = torch.tensor([[[0.5], [-3.0]], [[200.0], [0.0]]]), torch.full((2, 2, 1), 7.0)
    expected = {
        "mse": [(0.25 + 9) / 2, 200.0**2 / 2],
        "sse": [0.25 + 9, 200.0**2],
        "half_mse": [(0.25 + 9) / 4, 200.0**2 / 4],
        "mae": [3.5 / 2, 200 / 2],
        "huber": [(0.125 + 2.5) / 2, 199.5 / 2],  # e^2 / 2 below 1, |e| - 1/2 above
        "smooth_l1": [(0.125 + 2.5) / 2, 199.5 / 2],
        "log_cosh": [np.log(np.cosh([0.5, 3.0])).mean(), (200 - np.log(2)) / 2],
    }
    assert expected.keys() == set(get_args(losses.Kind))
    for kind, values in expected.items():
        result = losses.loss(kind, y + e, y)
        torch.testing.assert_close(result, torch.tensor(values, dtype=torch.float32))


def test_rows_of_weight_0_count_for_nothing():
    p, y = torch.tensor([[[1.0], [5.0], [9.0]]]), torch.zeros(1, 3, 1)
    weights = torch.tensor([[1.0, 1.0, 0.0]])
    for kind, expected in {"mse": 13.0, "sse": 26.0, "half_mse": 6.5}.items():
        assert (
            losses.loss(kind, p, y, weights).item()
            == losses.loss(kind, p[:, :2], y[:, :2]).item()
            == expected
        )


@pytest.mark.parametrize("units", [(1, 1), (1, 8, 1), (3, 32, 1), (1, 64, 64, 64, 1)])
def test_initial_weights_of_the_torch_stream_are_those_of_linear_layers(units):
    torch.manual_seed(19)
    layers = [torch.nn.Linear(a, b) for a, b in itertools.pairwise(units)]
    expected = [
        v
        for layer in layers
        for v in (layer.weight.detach().T.numpy(), layer.bias.detach()[None].numpy())
    ]
    drawn = initial_parameters(units, "torch", streams(19, "libraries").weights)
    for ours, theirs in zip(drawn, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_initial_weights_of_the_legacy_stream_are_those_of_the_hand_written_layers():
    np.random.seed(1234)
    first, second = np.random.randn(1, 5), np.random.randn(5, 1)
    drawn = initial_parameters((1, 5, 1), "normal", streams(1234, "legacy").weights)
    np.testing.assert_array_equal(drawn[0], first)
    np.testing.assert_array_equal(drawn[2], second)
    assert not drawn[1].any() and not drawn[3].any()


@pytest.mark.parametrize("units", [(1, 1), (1, 8, 1), (3, 32, 1), (1, 64, 64, 64, 1)])
def test_parameter_count(units):
    count = sum(p.numel() for p in MLP(units, "relu", 2).parameters())
    assert count == 2 * sum((a + 1) * b for a, b in itertools.pairwise(units))


def test_replicas_do_not_see_each_other():
    generator = torch.Generator().manual_seed(0)
    net = random_nets((1, 4, 1), "relu", 2, generator)
    x = torch.randn(2, 5, 1, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        before = net(x)
        net.layers[0][0][1] = torch.nan
        after = net(x)
    torch.testing.assert_close(after[0], before[0], rtol=0, atol=0)
    assert after[1].isnan().all()
