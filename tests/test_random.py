"""Random numbers: determined by their seed, and distributed as they should."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

import evolute as ev
from evolute import ops

DTYPES = [ev.float32, ev.float64]
N = 200_000


def philox(counter, key):
    """One block of Philox4x32-10, from its definition (Salmon et al. 2011)."""
    mask = 2**32 - 1
    c, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & mask, (p >> 32) ^ c[3] ^ k[1], p & mask]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c


def test_generator():
    """Known answers of the Random123 distribution, then the words behind the uniform numbers."""
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([2**32 - 1] * 4, [2**32 - 1] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    for seed in (0, 1, 12345, 2**32 + 7, 2**64 - 1):
        words = np.array([philox([i, 0, 0, 0], [seed & (2**32 - 1), seed >> 32]) for i in range(3)], np.uint64)
        single = (words.ravel() >> np.uint64(8)).astype(np.float32) * np.float32(2.0**-24)
        np.testing.assert_array_equal(ops.uniform(12, seed).asnumpy(), single)
        double = ((words[:, 1::2] << np.uint64(32) | words[:, ::2]) >> np.uint64(11)).astype(float) * 2.0**-53
        np.testing.assert_array_equal(ops.uniform(6, seed, ev.float64).asnumpy(), double.ravel())


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
@pytest.mark.parametrize("name", ["uniform", "standard_normal"])
def test_seeds(name, dtype):
    draw = getattr(ops, name)
    x = draw((3, 5), 7, dtype)
    assert x.dtype == dtype
    assert x.shape == (3, 5)
    np.testing.assert_array_equal(x.asnumpy(), draw((3, 5), 7, dtype).asnumpy())
    # Element i depends on the seed and i alone.
    np.testing.assert_array_equal(x.asnumpy().ravel(), draw(1001, 7, dtype).asnumpy()[:15])
    assert not np.intersect1d(x.asnumpy(), draw((3, 5), 8, dtype).asnumpy()).size
    assert len(np.unique(draw(1000, 7, ev.float64).asnumpy())) == 1000
    assert draw((), 1).shape == ()
    assert draw((0, 2), 1).shape == (0, 2)
    assert draw(3, 1).dtype == ev.float32


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_uniform(seed, dtype):
    x = ops.uniform(N, seed, dtype).asnumpy().astype(float)
    assert x.min() >= 0
    assert x.max() < 1
    assert scipy.stats.kstest(x, "uniform").pvalue > 1e-3
    for k in (1, 2, 3, 4):  # moments, to 5 standard errors
        variance = 1 / (2 * k + 1) - 1 / (k + 1) ** 2
        assert abs((x**k).mean() - 1 / (k + 1)) < 5 * np.sqrt(variance / N)
    bits = (x[:, None] * 2.0 ** np.arange(1, 24)).astype(np.int64) & 1
    assert np.all(np.abs(bits.mean(0) - 0.5) < 5 * 0.5 / np.sqrt(N))


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_standard_normal(seed, dtype):
    x = ops.standard_normal(N, seed, dtype).asnumpy().astype(float)
    assert np.isfinite(x).all()
    assert scipy.stats.kstest(x, "norm").pvalue > 1e-3
    for k, moment in enumerate((0, 1, 0, 3, 0, 15), start=1):
        spread = np.sqrt((np.prod(np.arange(1, 2 * k, 2)) - moment**2) / N)
        assert abs((x**k).mean() - moment) < 5 * spread
    assert 4 < np.abs(x).max() < 7  # the tails are there


@pytest.mark.parametrize("name", ["uniform", "standard_normal"])
def test_independence(name):
    """Neighbours, the halves of a pair, and the streams of neighbouring seeds do not correlate."""
    x = getattr(ops, name)(N, 5).asnumpy().astype(float)
    y = getattr(ops, name)(N, 6).asnumpy().astype(float)
    for a, b in [(x[:-1], x[1:]), (x[::2], x[1::2]), (x[:-4], x[4:]), (x, y)]:
        for f in (np.positive, np.square):
            assert abs(np.corrcoef(f(a), f(b))[0, 1]) < 5 / np.sqrt(len(a))


def test_errors():
    with pytest.raises(ev.DTypeError, match="uniform"):
        ops.uniform(3, 1, ev.int32)
    with pytest.raises(ValueError, match="negative"):
        ops.uniform((-1,), 1)
    with pytest.raises(TypeError):
        ops.uniform(3, 1.5)
    with pytest.raises(TypeError):
        ops.uniform(3, -1)


def test_random_numbers_are_constants():
    got = ev.grad(lambda x: ops.sum(x * ops.uniform(3, 1)))(ops.ones(3))
    np.testing.assert_array_equal(got.asnumpy(), ops.uniform(3, 1).asnumpy())
