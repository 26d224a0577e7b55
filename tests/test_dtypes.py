"""Element types of results: promotion of tensors, weak Python numbers, NumPy scalars, conversions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from checks import ROWS, all_modes, as_double, nest
from reference import COMPARE

import evolute as ev
from evolute import Tensor, ops

B, I32, I64, F32, F64 = ev.bool_, ev.int32, ev.int64, ev.float32, ev.float64
DTYPES = [B, I32, I64, F32, F64]
NUMPY_DTYPE = {B: np.bool_, I32: np.int32, I64: np.int64, F32: np.float32, F64: np.float64}

# The rule, written out: a float of any width wins over an integer, else the wider type wins.
PROMOTION = {
    B: [B, I32, I64, F32, F64],
    I32: [I32, I32, I64, F32, F64],
    I64: [I64, I64, I64, F32, F64],
    F32: [F32, F32, F32, F32, F64],
    F64: [F64, F64, F64, F64, F64],
}
# A tensor beside a Python number of type bool, int and float: the kind of the number counts, not its width.
WEAK = {
    B: [B, I64, F32],
    I32: [I32, I32, F32],
    I64: [I64, I64, F32],
    F32: [F32, F32, F32],
    F64: [F64, F64, F64],
}
BINARY_ROWS = [row for row in ROWS if row["arity"] == 2]


def result_dtype(row, operand):
    """Type of a function's result for operands that promote to `operand`."""
    if row["name"] in COMPARE:
        return B
    if row["operands"] == "real":
        return operand if operand in (F32, F64) else F32
    return I32 if operand == B else operand


def one(dtype):
    return Tensor(np.ones(2, NUMPY_DTYPE[dtype]))


@pytest.mark.parametrize(("a", "b"), list(itertools.product(DTYPES, DTYPES)), ids=repr)
def test_promotion(a, b):
    common = PROMOTION[a][DTYPES.index(b)]
    for row in BINARY_ROWS:
        assert getattr(ops, row["name"])(one(a), one(b)).dtype == result_dtype(row, common), row["name"]
    assert ops.where(one(B), one(a), one(b)).dtype == common
    assert ops.concat([one(a), one(b)]).dtype == common
    assert ops.stack([one(a), one(b)]).dtype == common
    assert ops.matmul(one(a), one(b)).dtype == (I64 if common == B else common)
    assert ops.dot(one(a), one(b)).dtype == (I64 if common == B else common)
    assert ops.einsum("i,i", one(a), one(b)).dtype == (I64 if common == B else common)
    assert ops.outer(one(a), one(b)).dtype == (I32 if common == B else common)


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
@pytest.mark.parametrize("number", [True, 2, 0.5])
def test_python_numbers_are_weak(dtype, number):
    common = WEAK[dtype][[bool, int, float].index(type(number))]
    x = one(dtype)
    for row in BINARY_ROWS:
        fn = getattr(ops, row["name"])
        assert fn(x, number).dtype == result_dtype(row, common), row["name"]
        assert fn(number, x).dtype == result_dtype(row, common), row["name"]
    assert ops.where(one(B), x, number).dtype == common
    assert ops.where(one(B), number, x).dtype == common
    for result in (x + number, number + x, x * number, number - x, x**number):
        assert result.dtype == (I32 if common == B else common)


def test_two_python_numbers():
    assert ops.add(1, 2).dtype == I64
    assert ops.add(1, 2.5).dtype == F32
    assert ops.add(1.5, 2.5).dtype == F32
    assert ops.add(True, 2).dtype == I64
    assert ops.where(True, 1, 2).dtype == I64
    assert ops.where(True, 1, 2.5).dtype == F32
    assert ops.sin(1).dtype == F32
    assert ops.sin(1.0).dtype == F32


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.int64, np.bool_])
def test_numpy_scalars_keep_their_dtype(dtype):
    got = one(I32) + dtype(1)
    assert got.dtype == PROMOTION[I32][[NUMPY_DTYPE[d] for d in DTYPES].index(dtype)]
    assert (dtype(1) + one(I32)).dtype == got.dtype
    assert ops.sin(dtype(1)).dtype == F32


def test_numpy_float64_scalars_are_python_floats():
    """`np.float64` is a `float`: what NumPy and Python compute on the side does not widen a float32 program."""
    x = one(F32)
    assert (x * np.float64(0.5)).dtype == F32
    assert (np.float64(0.5) * x).dtype == F32
    assert (one(I64) + np.sqrt(2.0)).dtype == F32
    assert (one(F64) + np.sqrt(2.0)).asnumpy()[0] == 1 + np.sqrt(2.0)
    # On their own they keep their width, as arrays do.
    assert ops.sin(np.float64(1)).dtype == F64
    assert Tensor(np.float64(1)).dtype == F64
    assert (x * np.array([0.5, 0.5])).dtype == F64


def test_weak_numbers_keep_their_value():
    assert (Tensor([0.1], F64) + 0.1).item() == 0.1 + 0.1
    assert (Tensor([2**62], I64) + 1).item() == 2**62 + 1
    assert (Tensor([1.0], F64) * (2**53 - 1)).item() == 2**53 - 1
    assert (Tensor([True]) + 2**40).item() == 2**40 + 1
    with pytest.raises((ValueError, OverflowError)):
        Tensor([1], I32) + 2**40
    with pytest.raises((ValueError, OverflowError)):
        Tensor([1], I64) + 2**64


def test_reductions():
    for dtype in DTYPES:
        x, floating = one(dtype), dtype in (F32, F64)
        for fn in (ops.sum, ops.prod, ops.cumsum):
            assert fn(x).dtype == (dtype if floating else I64)
        for fn in (ops.max, ops.min):
            assert fn(x).dtype == dtype
        for fn in (ops.mean, ops.norm, ops.logsumexp, ops.softmax, ops.log_softmax):
            assert fn(x).dtype == (dtype if floating else F32)
        for fn in (ops.any, ops.all):
            assert fn(x).dtype == B
        for fn in (ops.argmax, ops.argmin):
            assert fn(x).dtype == I64


def test_integers_have_no_derivative():
    for dtype in (B, I32, I64):
        with pytest.raises(ev.DTypeError):
            ev.grad(ops.square)(one(dtype))
        with pytest.raises(ev.DTypeError):
            ev.jvp(ops.square, one(dtype), one(dtype))


@pytest.mark.parametrize("source", DTYPES, ids=repr)
@pytest.mark.parametrize("target", DTYPES, ids=repr)
def test_cast(source, target):
    values = np.array([0, 1, 0, 1] if source == B else [0, 1, 2, 100]).astype(NUMPY_DTYPE[source])
    for result in (ops.cast(Tensor(values), target), Tensor(values).astype(target)):
        assert result.dtype == target
        np.testing.assert_array_equal(result.asnumpy(), values.astype(NUMPY_DTYPE[target]))


def test_cast_of_values_out_of_range():
    """Defined for every value, unlike in C: to the nearest integer that there is, NaN to 0."""
    x = Tensor([np.nan, np.inf, -np.inf, 1e30, -1e30, -1.9, 1.9], F64)
    lo, hi = -(2**31), 2**31 - 1
    assert ops.cast(x, I32).tolist() == [0, hi, lo, hi, lo, -1, 1]
    assert ops.cast(x, I64).tolist() == [0, 2**63 - 1, -(2**63), 2**63 - 1, -(2**63), -1, 1]
    assert ops.cast(x, B).tolist() == [True] * 7


def test_derivative_of_cast():
    x = Tensor([0.5, 1.5])  # float32
    for modes in all_modes(2):
        got = nest(lambda t: ops.cast(ops.cast(t, F64) ** 3, F32), modes)(x)
        assert got.dtype == F32
        np.testing.assert_array_equal(got.asnumpy(), 6 * x.asnumpy())
    # Through an integer or a boolean there is none.
    for dtype in (B, I32, I64):
        for mode in "rf":
            got = nest(lambda t: ops.cast(t, dtype) * t, mode)(as_double([2.0, 3.5]))  # noqa: B023
            np.testing.assert_array_equal(got.asnumpy(), ops.cast(as_double([2.0, 3.5]), dtype).asnumpy() * 1.0)


def test_mixed_precision_gradients_come_back_in_the_type_of_each_input():
    gx, gy = ev.grad(lambda x, y: ops.sum(x * y), (0, 1))(Tensor([1.0, 2.0]), Tensor([3.0, 4.0], F64))
    assert (gx.dtype, gy.dtype) == (F32, F64)
    value, tangent = ev.jvp(
        lambda x, y: x * y, (Tensor([1.0]), Tensor([3.0], F64)), (Tensor([1.0]), Tensor([0.0], F64))
    )
    assert value.dtype == tangent.dtype == F64
