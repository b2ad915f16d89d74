"""The generators of a replica against numpy's and torch's own."""

import numpy as np
import pytest
import torch

from mlpfit.data import streams
from mlpfit.data.streams import Generator, RandomState, TorchUniform, spawned

SEEDS = (0, 1, 19, 1234, 2**32 - 1)
RANGES = [
    (-1.0, 1.0),
    (-(8**-0.5), 8**-0.5),
    (3.0, 1000.0),
    (1e-3, 2.0),
    (-1e-8, 1.0),
    (100, 100.5),
]
FUSES = torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX")


@pytest.mark.parametrize("seed", SEEDS)
def test_uniform_numbers_are_torchs(seed):
    ours, theirs = TorchUniform(seed), torch.Generator().manual_seed(seed)
    for low, high in RANGES:
        for size in ((1,), (8, 3), (1001,)):
            expected = torch.empty(size).uniform_(low, high, generator=theirs).numpy()
            drawn = ours.uniform(low, high, size)
            assert drawn.dtype == np.float32 and drawn.shape == size
            if FUSES:
                np.testing.assert_array_equal(drawn, expected)
            else:  # the product is rounded on its own: by half an ulp of at most the width
                ulp = np.spacing(np.float32(max(abs(low), abs(high), high - low)))
                np.testing.assert_allclose(drawn, expected, rtol=0, atol=ulp)


@pytest.mark.parametrize("seed", SEEDS)
def test_normal_numbers_are_torchs_to_rounding(seed):
    """torch takes below 16 numbers in float64, larger blocks in float32: there the angle 2 pi u has
    an error of 2^-22, so the number one of 2^-22 times the radius, which is below 6 as u is a
    multiple of 2^-24; sine, cosine and radius add as much again at most."""
    ours, theirs = TorchUniform(seed), torch.Generator().manual_seed(seed)
    for size in (3, 4, 15, 16, 17, 64, 100):
        expected = torch.empty(size).normal_(0, 1, generator=theirs).numpy()
        drawn = ours.normal(0, 1, (size,))
        bound = np.spacing(np.abs(expected)) if size < 16 else 2 * 6 * 2.0**-22
        assert (np.abs(drawn - expected) <= bound).all()
    expected = torch.empty(100).normal_(3, 0.5, generator=theirs).numpy()
    np.testing.assert_allclose(
        ours.normal(3, 0.5, (100,)), expected, rtol=0, atol=6 * 2.0**-22 + 1e-6
    )


def test_the_seeds_words_are_those_of_numpys_legacy_generator():
    for seed in SEEDS:
        words = np.random.RandomState(seed).randint(0, 2**32, 1000, dtype=np.uint32)
        np.testing.assert_array_equal(TorchUniform(seed)._words(1000), words)


SIZES = (None, 0, 1, 5, (30, 2), 1000, None, 3)


@pytest.mark.parametrize("seed", range(20))
def test_generators_draw_numpys_numbers_and_stay_in_step(seed):
    """Normal numbers to a few ulp: the logarithm of one in 3,800 (new) or of all (legacy), below
    1 ulp in error, is followed by four or fewer roundings."""
    pairs = [
        (Generator(np.random.PCG64(seed)), np.random.default_rng(seed)),
        (RandomState(seed), np.random.RandomState(seed)),
    ]
    for ours, theirs in pairs:
        for size in SIZES:
            drawn, expected = ours.normal(0, 2.0, size), theirs.normal(0, 2.0, size)
            assert np.shape(drawn) == np.shape(expected)
            np.testing.assert_allclose(drawn, expected, rtol=4 * 2.0**-52, atol=0)
            drawn, expected = ours.uniform(-3, 4, size), theirs.uniform(-3, 4, size)
            assert np.shape(drawn) == np.shape(expected)
            np.testing.assert_allclose(drawn, expected, rtol=0, atol=2.0**-51)  # if theirs is fused
        np.testing.assert_array_equal(
            streams.integers(ours, 1000, 50), streams.integers(theirs, 1000, 50)
        )
        np.testing.assert_array_equal(ours.permutation(50), theirs.permutation(50))


def test_normal_numbers_beyond_the_ziggurat_come_from_our_logarithm():
    rng, again = Generator(np.random.PCG64(5)), np.random.default_rng(5)
    drawn, expected = rng.normal(size=40_000), again.standard_normal(40_000)
    beyond = np.abs(drawn) > Generator.TAIL
    assert 2 < beyond.sum() < 30  # 10.5 expected
    np.testing.assert_array_equal(drawn[~beyond], expected[~beyond])
    np.testing.assert_allclose(drawn[beyond], expected[beyond], rtol=2 * 2.0**-52)
    assert rng.bit_generator.state == again.bit_generator.state


@pytest.mark.parametrize("child", [0, 1, 2, 3, 4])
def test_the_generators_of_a_seed_are_numpys(child):
    for seed in (0, 1, 255, 256, 12_345, 2**31, 2**32 - 1, 2**32, 2**40):
        theirs = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(child,)))
        assert spawned(seed, child).bit_generator.state == theirs.state


def test_the_legacy_generator_of_a_seed_is_numpys():
    for seed in (0, 1, 12_345, 2**32 - 1):
        ours, theirs = streams.streams(seed, "legacy").data, np.random.RandomState(seed)
        np.testing.assert_array_equal(ours.random_sample(2000), theirs.random_sample(2000))
        np.testing.assert_array_equal(ours.permutation(50), theirs.permutation(50))
