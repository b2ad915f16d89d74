"""The hand-derived gradient, the losses and the initial weights."""

import itertools

import numpy as np
import pytest
import torch

from mlpfit.data.streams import streams
from mlpfit.errors import ConfigError
from mlpfit.model import losses, mlp
from mlpfit.model.mlp import MLP, initial_parameters

# Losses whose number of each output is computed from it alone.
KINDS = [
    *["mse", "sse", "half_mse", "mae", "huber", "smooth_l1", "log_cosh", "bce", "soft_margin"],
]


def random_nets(units, activation, replicas, generator):
    net = MLP(units, activation, replicas).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return net


@pytest.mark.parametrize("activation", mlp.SLOPES)
@pytest.mark.parametrize("hidden", [(), (4,), (4, 3), (5, 4, 3)])
@pytest.mark.parametrize("kind", KINDS)
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


# Modules beside the activations of torch.nn that do not map each number by itself, have parameters,
# draw numbers or need arguments.
OTHERS = [
    "softmax",
    "softmin",
    "log_softmax",
    "softmax2d",
    "glu",
    "multiheadattention",
    "prelu",
    "rrelu",
    "threshold",
]


@pytest.mark.parametrize("name", [name for name in mlp.ACTIVATIONS if name not in OTHERS])
def test_an_activation_maps_each_number_by_itself_and_has_torchs_name(name):
    x = torch.linspace(-4, 4, 24).view(2, 3, 4)
    assert mlp.checked_activation(name) == name
    g = mlp.activation_of(name)
    one_by_one = torch.stack([g(number) for number in x.flatten()])
    torch.testing.assert_close(g(x).flatten(), one_by_one)
    if name != "identity":
        torch.testing.assert_close(g(x), getattr(torch.nn.functional, name)(x))


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_function_of_each_number_is_refused_in_one_line(name):
    with pytest.raises(ConfigError, match=r"^model.activation") as error:
        mlp.checked_activation(name)
    assert "\n" not in str(error.value)


def test_an_activation_takes_torchs_arguments():
    x = torch.linspace(-4, 4, 24)
    for given, function in {
        "LeakyReLU": torch.nn.functional.leaky_relu,
        "leakyrelu": torch.nn.functional.leaky_relu,
    }.items():
        assert mlp.checked_activation(given) == "leaky_relu"
        assert torch.equal(mlp.activation_of("leaky_relu")(x), function(x))
    given = mlp.checked_activation({"name": "LeakyReLU", "negative_slope": 0.3})
    assert given == {"name": "leaky_relu", "negative_slope": 0.3}
    assert torch.equal(mlp.activation_of(given)(x), torch.nn.functional.leaky_relu(x, 0.3))
    threshold = {"name": "threshold", "threshold": 1.0, "value": -2.0}
    given = mlp.checked_activation(threshold)
    assert torch.equal(mlp.activation_of(given)(x), torch.nn.functional.threshold(x, 1.0, -2.0))
    with pytest.raises(
        ConfigError, match=r"negative_slop of leaky_relu: no such key.*negative_slope"
    ):
        mlp.checked_activation({"name": "leaky_relu", "negative_slop": 0.3})


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
    for kind, values in expected.items():
        result = losses.loss(kind, y + e, y)
        torch.testing.assert_close(result, torch.tensor(values, dtype=torch.float32))


@pytest.mark.parametrize(
    "kind, module",
    [
        ("mse", torch.nn.MSELoss()),
        ("l1", torch.nn.L1Loss()),
        ("mae", torch.nn.L1Loss()),
        ({"name": "huber", "delta": 0.3}, torch.nn.HuberLoss(delta=0.3)),
        ({"name": "smooth_l1", "beta": 0.3}, torch.nn.SmoothL1Loss(beta=0.3)),
        (
            {"name": "bce", "pos_weight": [2.0]},
            torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0])),
        ),
        ({"_target_": "torch.nn.SmoothL1Loss", "beta": 0.3}, torch.nn.SmoothL1Loss(beta=0.3)),
    ],
)
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_loss_is_the_mean_over_rows_and_outputs_that_torchs_module_takes(kind, module, outputs):
    generator = torch.Generator().manual_seed(0)
    p, y = (torch.rand(2, 5, outputs, generator=generator) for _ in range(2))
    expected = torch.stack([module(p[k], y[k]) for k in range(2)])
    torch.testing.assert_close(losses.loss(losses.checked(kind), p, y), expected)
    weights = torch.tensor([[1.0, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
    expected = torch.stack([module(p[0, :3], y[0, :3]), module(p[1, :4], y[1, :4])])
    torch.testing.assert_close(losses.loss(losses.checked(kind), p, y, weights), expected)


@pytest.mark.parametrize("arguments", [{}, {"label_smoothing": 0.1, "weight": [1.0, 2.0, 0.5]}])
def test_cross_entropy_takes_class_numbers(arguments):
    p = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))
    y = torch.tensor([[0, 1, 2, 1, 0], [2, 2, 1, 0, 0]])
    given = losses.checked({"name": "cross_entropy", **arguments})
    options = {k: torch.tensor(v) if isinstance(v, list) else v for k, v in arguments.items()}
    expected = torch.nn.functional.cross_entropy(p[0], y[0], **options, reduction="none").mean()
    torch.testing.assert_close(losses.loss(given, p, y[..., None].float())[0], expected)
    half = losses.loss(given, p, y[..., None].float(), torch.tensor([[1.0, 1, 0, 0, 0]] * 2))
    torch.testing.assert_close(half[1], losses.loss(given, p[:, :2], y[:, :2, None].float())[1])


def test_a_loss_that_gives_no_number_for_each_row_is_refused():
    for kind in (
        "nll",
        "multi_margin",
        "mea",
        {"name": "huber", "beta": 1},
        {"name": "gaussian_nll"},
    ):
        with pytest.raises(ConfigError, match=r"^loss") as error:
            losses.checked(kind)
        assert "\n" not in str(error.value)


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


@pytest.mark.parametrize(
    "name", ["xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "trunc_normal"]
)
def test_weights_by_a_function_of_torch_are_those_of_a_script(name):
    """Of the stream that is torch's own generator; normal numbers to torch's rounding."""
    torch.manual_seed(19)
    weight = getattr(torch.nn.init, f"{name}_")(torch.empty(8, 3))
    rng = streams(19, "libraries").weights
    drawn = initial_parameters((3, 8), {"weight": name, "bias": "zeros"}, rng)
    np.testing.assert_allclose(drawn[0].T, weight.numpy(), rtol=1e-5, atol=1e-6)
    assert not drawn[1].any()


@pytest.mark.parametrize("units", [(3, 8), (8, 3), (4, 4)])
def test_orthogonal_weights_are_orthogonal(units):
    init = {"weight": {"name": "orthogonal", "gain": 2.0}, "bias": {"name": "constant", "val": 0.1}}
    weight, bias = initial_parameters(units, init, streams(3, "spawned").weights)
    smaller = weight if units[0] >= units[1] else weight.T
    np.testing.assert_allclose(smaller.T @ smaller, 4 * np.eye(min(units)), atol=1e-14)
    assert (bias == 0.1).all() and bias.shape == (1, units[1])


@pytest.mark.parametrize(
    "given",
    [
        *["uniform", "normal", "kaiming_uniform", "xavier_normal", "trunc_normal", "orthogonal"],
        {"name": "sparse", "sparsity": 0.5},
        {"name": "trunc_normal", "a": 2.0, "b": 3.0},
        "torch.nn.init.kaiming_normal_",
    ],
)
def test_weights_depend_on_the_seed_alone(given):
    def drawn(seed, torch_seed):
        torch.manual_seed(torch_seed)
        return initial_parameters((3, 8), {"weight": given}, streams(seed, "spawned").weights)[0]

    with torch.random.fork_rng():
        np.testing.assert_array_equal(drawn(1, 0), drawn(1, 5))
        assert not (drawn(1, 0) == drawn(2, 0)).all()
