"""Bad input: a typed error whose message names the operation, what it got and what it needs, and nothing changed."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import DEVICE

import evolute as ev
from evolute import DeviceError, DTypeError, Parameter, ShapeError, Tensor, TraceError, nn, ops

VECTOR = Tensor([1.0, 2.0])
MATRIX = Tensor([[1.0, 2.0], [3.0, 4.0]])
DOUBLE = Tensor([1.0, 2.0], ev.float64)
INTEGER = Tensor([1, 2])
BOOL = Tensor([True, False])
INPUTS = [VECTOR, MATRIX, DOUBLE, INTEGER, BOOL]


@pytest.fixture(autouse=True)
def nothing_has_changed():
    before = [t.asnumpy().copy() for t in INPUTS]
    yield
    assert ev._evolute.at_top_level()
    for t, b in zip(INPUTS, before, strict=True):
        assert t.dtype.numpy == b.dtype
        np.testing.assert_array_equal(t.asnumpy(), b)


def check(error, parts, call):
    """`call` raises `error` itself, or a class of its own from it, with all `parts` in the message."""
    with pytest.raises(error) as caught:
        call()
    for part in parts:
        assert part in str(caught.value), f"{part!r} is not in {str(caught.value)!r}"


def test_the_errors_are_those_of_python_too():
    assert issubclass(ShapeError, ValueError)
    assert issubclass(DTypeError, TypeError)
    assert issubclass(TraceError, RuntimeError)
    assert issubclass(ev.DeviceError, RuntimeError)
    assert issubclass(ev.UnknownValueError, TraceError)


@pytest.mark.parametrize(
    ("error", "parts", "call"),
    [
        (ShapeError, ["add", "(2,)", "(3,)"], lambda: VECTOR + Tensor([1.0, 2.0, 3.0])),
        (ShapeError, ["add", "(2,)", "(3,)"], lambda: np.ones(3, np.float32) + VECTOR),
        (ShapeError, ["matmul", "(2, 2)", "(3,)"], lambda: MATRIX @ Tensor([1.0, 2.0, 3.0])),
        (ShapeError, ["reshape", "(2, 2)", "(3,)"], lambda: MATRIX.reshape(3)),
        (ShapeError, ["concat", "(2, 2)", "(2,)"], lambda: ops.concat([MATRIX, VECTOR])),
        (ShapeError, ["stack", "(2, 2)", "(2,)"], lambda: ops.stack([MATRIX, VECTOR])),
        (ValueError, ["concat", "no tensors"], lambda: ops.concat([])),
        (IndexError, ["sum", "axis 5", "2 axes"], lambda: ops.sum(MATRIX, axis=5)),
        (IndexError, ["5", "(2,)"], lambda: VECTOR[5]),
        (IndexError, ["index"], lambda: VECTOR[10**30]),
        (IndexError, ["2 indices", "(2,)"], lambda: VECTOR[0, 0]),
        (IndexError, ["Float32"], lambda: VECTOR[1.0]),
        (IndexError, ["str"], lambda: VECTOR["a"]),
        (IndexError, ["boolean index", "(1,)", "(2,)"], lambda: VECTOR[Tensor([True])]),
        (ShapeError, ["(2, 2)", "()"], lambda: VECTOR.__setitem__(0, MATRIX)),
        (DTypeError, ["tensor element"], lambda: VECTOR.__setitem__(0, "a")),
        (IndexError, ["7"], lambda: VECTOR.__setitem__(7, 1.0)),
        (ValueError, ["deleted"], lambda: VECTOR.__delitem__(0)),
        (DTypeError, ["sin", "str"], lambda: ops.sin("a")),
        (DTypeError, ["mul", "NoneType"], lambda: ops.mul(VECTOR, None)),
        (TypeError, ["+", "str"], lambda: VECTOR + "a"),
        (TypeError, ["*", "NoneType"], lambda: VECTOR * None),
        (DTypeError, ["&", "Int64(2,)"], lambda: INTEGER & INTEGER),
        (DTypeError, ["~", "Float32(2,)"], lambda: ~VECTOR),
        (ValueError, [str(10**30), "Int64"], lambda: INTEGER + 10**30),
        (ValueError, [str(2**40), "Int32"], lambda: Tensor([1], ev.int32) + 2**40),
        (ValueError, ["(2,)", "ops.any"], lambda: bool(VECTOR)),
        (ShapeError, ["item", "(2,)"], lambda: float(VECTOR)),
        (DTypeError, ["index", "Float32"], lambda: [1, 2][Tensor(1.0)]),
        (TypeError, ["0-d"], lambda: len(Tensor(1.0))),
        (TypeError, ["0-d"], lambda: list(Tensor(1.0))),
        (TypeError, ["modulus"], lambda: pow(VECTOR, 2, 3)),
        (ShapeError, ["8"], lambda: ops.reshape(VECTOR, (1,) * 8 + (2,))),
        (ShapeError, ["expand_dims", "9", "8"], lambda: ops.zeros((1,) * 8)[None]),
        (ValueError, ["-1"], lambda: ops.zeros((-1,))),
        (DeviceError if DEVICE == "GPU" else MemoryError, [], lambda: ops.exp(ops.arange(1 << 44))),
    ],
)
def test_operations(error, parts, call):
    check(error, parts, call)


@pytest.mark.parametrize(
    ("error", "parts", "make"),
    [
        (TypeError, ["input_data"], lambda: Tensor()),
        (DTypeError, ["NoneType"], lambda: Tensor(None)),
        (DTypeError, ["str"], lambda: Tensor("abc")),
        (DTypeError, ["dict"], lambda: Tensor({})),
        (DTypeError, ["complex"], lambda: Tensor(1j)),
        (ShapeError, ["inhomogeneous"], lambda: Tensor([[1.0, 2.0], [3.0]])),
        (DTypeError, ["<U1", "float32"], lambda: Tensor(["a"])),
        (DTypeError, ["int3", "float64"], lambda: Tensor([1.0], "int3")),
        (DTypeError, ["complex64"], lambda: Tensor([1.0], np.complex64)),
        (ShapeError, ["8 axes", "9"], lambda: Tensor(np.zeros((1,) * 9))),
        (ShapeError, ["8 axes", "9"], lambda: ev.from_numpy(np.zeros((1,) * 9))),
        (TypeError, ["numpy.ndarray"], lambda: ev.from_numpy([1.0])),
        (DTypeError, ["from_dlpack", "int"], lambda: ev.from_dlpack(3)),
        (TypeError, [], lambda: Parameter()),
        (ShapeError, ["'w'", "(1,)", "(2,)"], lambda: Parameter([1.0], name="w").set_data([1.0, 2.0])),
        (DTypeError, ["'w'", "Float32", "Int64"], lambda: Parameter([1.0], name="w").set_data(Tensor([1]))),
    ],
)
def test_making_tensors(error, parts, make):
    check(error, parts, make)


@pytest.mark.parametrize("dtype", ["float16", "complex64", "uint8", "int8", "uint64", "O", "M8[s]", "S3", "V4"])
@pytest.mark.parametrize("make", [Tensor, ev.from_numpy, lambda a: VECTOR * a, lambda a: a * VECTOR, ev.jit(ops.sin)])
def test_dtypes_that_are_not_supported(make, dtype):
    check(DTypeError, [str(np.dtype(dtype)), "float32 or float64"], lambda: make(np.zeros(2, dtype)))


# ---- transforms ------------------------------------------------------------------------------------------------------


def identity(x):
    return x


def first(x, y):
    return x


@pytest.mark.parametrize(
    ("error", "parts", "call"),
    [
        (ValueError, ["position 5", "1 positional"], lambda: ev.grad(identity, 5)(VECTOR)),
        (ValueError, ["position -3", "2 positional"], lambda: ev.grad(first, -3)(VECTOR, VECTOR)),
        (ValueError, ["position 2"], lambda: ev.grad(first, (0, 2))(VECTOR, VECTOR)),
        (TypeError, ["grad_position", "'a'"], lambda: ev.grad(identity, "a")),
        (TypeError, ["grad_position", "True"], lambda: ev.grad(identity, True)),
        (TypeError, ["grad_position", "1.0"], lambda: ev.grad(identity, 1.0)),
        (TypeError, ["grad_position", "()"], lambda: ev.grad(identity, ())),
        (ValueError, ["twice"], lambda: ev.grad(identity, (0, 0))),
        (ValueError, ["twice"], lambda: ev.grad(first, (0, -2))(VECTOR, VECTOR)),
        (ValueError, ["grad_position", "weights"], lambda: ev.grad(identity, None)),
        (ValueError, ["position 0", "0 positional"], lambda: ev.grad(identity)()),
        (TypeError, ["1 positional argument"], lambda: ev.grad(identity)(VECTOR, VECTOR)),
        (TypeError, ["GradOperation", "at least one input"], lambda: ops.GradOperation()(identity)()),
        (TypeError, ["get_all", "int"], lambda: ops.GradOperation(get_all=1)),
        (TypeError, ["get_by_list", "parameters"], lambda: ops.GradOperation(get_by_list=True)(identity)),
        (TypeError, ["weights", "int"], lambda: ops.GradOperation(get_by_list=True)(identity, 3)),
        (DTypeError, ["weights", "Parameters", "Tensor"], lambda: ev.grad(identity, weights=[VECTOR])(VECTOR)),
        (DTypeError, ["Int64(2,)", "float32"], lambda: ev.grad(identity, weights=Parameter([1, 2]))(VECTOR)),
        # Functions
        (TypeError, ["grad", "int"], lambda: ev.grad(3)),
        (TypeError, ["GradOperation", "NoneType"], lambda: ops.GradOperation()(None)),
        (TypeError, ["jvp", "int"], lambda: ev.jvp(3, VECTOR, VECTOR)),
        (TypeError, ["vjp", "int"], lambda: ev.vjp(3, VECTOR)),
        (TypeError, ["jacfwd", "int"], lambda: ev.jacfwd(3)),
        (TypeError, ["jacrev", "int"], lambda: ev.jacrev(3)),
        (TypeError, ["hessian", "int"], lambda: ev.hessian(3)),
        (TypeError, ["jit", "int"], lambda: ev.jit(3)),
        (TypeError, ["Jvp", "int"], lambda: nn.Jvp(3)),
        (TypeError, ["Vjp", "int"], lambda: nn.Vjp(3)),
        # What is differentiated
        (DTypeError, ["grad", "Int64(2,)", "float32"], lambda: ev.grad(identity)(INTEGER)),
        (DTypeError, ["grad", "Bool(2,)"], lambda: ev.grad(identity)(BOOL)),
        (DTypeError, ["grad", "int", "float32"], lambda: ev.grad(identity)(3)),
        (DTypeError, ["grad", "str"], lambda: ev.grad(identity)("a")),
        (DTypeError, ["GradOperation", "Int64"], lambda: ops.GradOperation(get_all=True)(first)(VECTOR, INTEGER)),
        (DTypeError, ["jvp", "Int64"], lambda: ev.jvp(identity, INTEGER, INTEGER)),
        (DTypeError, ["jvp", "str"], lambda: ev.jvp(identity, "a", VECTOR)),
        (DTypeError, ["vjp", "Int64"], lambda: ev.vjp(identity, INTEGER)),
        (DTypeError, ["jacfwd", "str"], lambda: ev.jacfwd(identity)("a")),
        (DTypeError, ["Int64"], lambda: ev.jacrev(identity)(INTEGER)),
        (ValueError, ["jacfwd", "grad_position 3", "1 positional"], lambda: ev.jacfwd(identity, 3)(VECTOR)),
        # What comes out
        (DTypeError, ["Int64()", "no derivative"], lambda: ev.grad(ops.argmax)(VECTOR)),
        (DTypeError, ["Bool(2,)", "no derivative"], lambda: ev.grad(lambda x: x > 1)(VECTOR)),
        (DTypeError, ["str"], lambda: ev.grad(lambda x: "a")(VECTOR)),
        (DTypeError, ["no tensor"], lambda: ev.grad(lambda x: None)(VECTOR)),
        (DTypeError, ["numpy.ndarray"], lambda: ev.grad(lambda x: x.asnumpy())(VECTOR)),
        (ValueError, ["has_aux", "Tensor"], lambda: ev.grad(identity, has_aux=True)(VECTOR)),
        (ValueError, ["has_aux", "tuple of one"], lambda: ev.grad(lambda x: (x,), has_aux=True)(VECTOR)),
        (DTypeError, ["jacrev", "str"], lambda: ev.jacrev(lambda x: (x, "a"))(VECTOR)),
        (ShapeError, ["hessian", "(2,)"], lambda: ev.hessian(identity)(VECTOR)),
    ],
)
def test_transforms(error, parts, call):
    check(error, parts, call)


def pair(x):
    return x, x


@pytest.mark.parametrize(
    ("error", "parts", "fn", "sens"),
    [
        (ShapeError, ["sens", "(2, 2)", "(2,)"], identity, MATRIX),
        (DTypeError, ["sens", "str"], identity, "a"),
        (DTypeError, ["sens", "tuple"], identity, (VECTOR, VECTOR)),
        (ValueError, ["sens", "tuple of 2", "a tensor"], pair, VECTOR),
        (ValueError, ["sens", "tuple of 2", "3"], pair, (VECTOR, VECTOR, VECTOR)),
        (ShapeError, ["sens", "(2, 2)"], pair, (VECTOR, MATRIX)),
        (ValueError, ["sens", "'a'"], lambda x: {"a": x}, {"b": VECTOR}),
        (ValueError, ["sens", "dict"], lambda x: {"a": x}, VECTOR),
        (ValueError, ["sens", "dict of 1", "2"], lambda x: {"a": x}, {"a": VECTOR, "b": VECTOR}),
        (DTypeError, ["Bool", "None"], lambda x: (x, x > 1), (VECTOR, VECTOR)),
    ],
)
def test_sens(error, parts, fn, sens):
    check(error, parts, lambda: ops.GradOperation(sens_param=True)(fn)(VECTOR, sens))
    check(error, parts, lambda: ev.grad(fn, sens_param=True)(VECTOR, sens))
    check(error, parts, lambda: ev.vjp(fn, VECTOR, sens))
    check(error, parts, lambda: ev.vjp(fn, VECTOR)[1](sens))
    check(error, parts, lambda: nn.Vjp(fn)(VECTOR, sens))
    check(error, parts, lambda: ev.jit(ev.grad(fn, sens_param=True))(VECTOR, sens))


def test_sens_that_is_missing():
    check(TypeError, ["sens_param"], lambda: ops.GradOperation(sens_param=True)(identity)())
    check(TypeError, ["sens_param"], lambda: ev.grad(identity, sens_param=True)())
    check(TypeError, ["pullback"], lambda: ev.vjp(identity, VECTOR)[1]())


def test_sens_of_another_width_is_converted():
    assert ev.grad(identity, sens_param=True)(VECTOR, DOUBLE).dtype == ev.float32
    assert ev.grad(identity, sens_param=True)(DOUBLE, VECTOR).dtype == ev.float64
    assert ev.grad(identity, sens_param=True)(VECTOR, [1, 2]).asnumpy().tolist() == [1.0, 2.0]
    assert ev.grad(lambda x: (x, x > 1), sens_param=True)(VECTOR, (VECTOR, None)).asnumpy().tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("error", "parts", "inputs", "tangents"),
    [
        (ValueError, ["1 tangents", "2 inputs"], (VECTOR, VECTOR), (VECTOR,)),
        (ValueError, ["1 tangents", "2 inputs"], (VECTOR, VECTOR), VECTOR),
        (ShapeError, ["tangent", "(2, 2)", "(2,)"], (VECTOR, VECTOR), (MATRIX, VECTOR)),
        (DTypeError, ["tangent", "str"], (VECTOR, VECTOR), ("a", VECTOR)),
        (ValueError, ["tangent", "'a'"], ({"a": VECTOR}, VECTOR), ({"b": VECTOR}, VECTOR)),
        (ValueError, ["tangent", "tuple of 2"], ((VECTOR, VECTOR), VECTOR), (VECTOR, VECTOR)),
    ],
)
def test_tangents(error, parts, inputs, tangents):
    check(error, ["jvp", *parts], lambda: ev.jvp(first, inputs, tangents))
    check(error, ["jvp", *parts], lambda: ev.jit(lambda: ev.jvp(first, inputs, tangents))())


def test_a_cell_without_construct():
    class Nothing(nn.Cell):
        pass

    for call in (Nothing(), ev.grad(Nothing()), ev.jit(Nothing())):
        check(NotImplementedError, ["Nothing", "construct"], lambda call=call: call(VECTOR))


def test_a_tape_that_was_freed():
    tape, kept = {}, []

    def fn(x):
        value, tape["inner"] = ev.vjp(lambda y: y * y * x, x)
        kept.append(x)
        return value

    assert ev.grad(fn)(VECTOR).asnumpy().tolist() == [3.0, 12.0]
    # The outer transform is over; what it recorded is gone, and the inner pullback still gives its value.
    assert tape["inner"](VECTOR).asnumpy().tolist() == [2.0, 16.0]
    assert ev.grad(lambda v: ops.sum(tape["inner"](v) * v))(VECTOR).asnumpy().tolist() == [4.0, 32.0]
    assert (kept[0] * 2).asnumpy().tolist() == [2.0, 4.0]

    ev.jit(fn)(VECTOR)
    check(TraceError, ["record"], lambda: tape["inner"](VECTOR))


def test_a_failed_call_leaves_parameters_and_caches_alone():
    w = Parameter([1.0, 2.0], name="w")

    def fn(x, y):
        w.set_data(w * 2)
        return ops.matmul(x, y)

    compiled = ev.jit(fn)
    check(ShapeError, ["matmul"], lambda: compiled(MATRIX, Tensor([[1.0, 2.0, 3.0]])))
    check(ShapeError, ["matmul"], lambda: ev.jit(ev.grad(fn))(MATRIX, Tensor([[1.0, 2.0, 3.0]])))
    assert compiled.compiled.recorded == 0
    assert w.asnumpy().tolist() == [1.0, 2.0]
    # Also where the function itself has run to its end, and where only a part of it fails.
    for transform in (
        lambda f: ev.grad(f, sens_param=True)(MATRIX, MATRIX, VECTOR),
        lambda f: ev.grad(lambda x, y: f(f(x, y), VECTOR[:1]))(MATRIX, MATRIX),
        lambda f: ev.jvp(lambda x: f(x, Tensor([1.0])), MATRIX, MATRIX),
        lambda f: ev.jvp(f, (MATRIX, MATRIX), (MATRIX, VECTOR)),
        lambda f: ev.grad(lambda x: ev.grad(f)(x, VECTOR[:1]))(MATRIX),
    ):
        check(ShapeError, [], lambda transform=transform: transform(fn))
        assert w.asnumpy().tolist() == [1.0, 2.0]
    check(ShapeError, ["setting"], lambda: w.__setitem__(0, VECTOR))
    assert w.asnumpy().tolist() == [1.0, 2.0]
    assert compiled(MATRIX, MATRIX).shape == (2, 2)
    assert w.asnumpy().tolist() == [2.0, 4.0]


# ---- input that is merely unusual ------------------------------------------------------------------------------------


def unusual_arrays():
    base = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    read_only = base.copy()
    read_only.flags.writeable = False
    unaligned = np.zeros(25 * 8, np.uint8)[1:193].view(np.float64)
    unaligned[:] = np.arange(24.0)
    return {
        "transposed": base.T,
        "strided": base[:, ::2, 1::2],
        "negative": base[::-1, :, ::-2],
        "broadcast": np.broadcast_to(base[:1, :, :1], (5, 3, 4)),
        "fortran": np.asfortranarray(base),
        "read_only": read_only,
        "big_endian": base.astype(">f8"),
        "unaligned": unaligned,
        "empty": base[:, :0],
        "scalar": base[0, 0, 1],
        "zero_d": base[0, 0, 1, ...],
        "field": np.array([(1.0, 2), (3.0, 4)], dtype=[("x", "f8"), ("n", "i4")])["x"],
        "subclass": np.ma.masked_array(base).data.view(type("Sub", (np.ndarray,), {})),
        "eight_axes": np.ones((1, 2, 1, 2, 1, 2, 1, 2)),
    }


@pytest.mark.parametrize("kind", unusual_arrays())
def test_arrays_in_unusual_memory(kind):
    a = unusual_arrays()[kind]
    tensors = [Tensor(a), ev.jit(lambda x: x)(a), ev.jit(lambda x: x)(Tensor(a))]
    if kind not in ("big_endian", "scalar"):
        tensors.append(ev.from_numpy(a))
    plain = Tensor(np.ascontiguousarray(a, float).reshape(a.shape))
    for t in tensors:
        assert t.shape == a.shape
        assert t.dtype == ev.float64
        np.testing.assert_array_equal(t.asnumpy(), a)
        np.testing.assert_array_equal(ops.sin(t).asnumpy(), ops.sin(plain).asnumpy())
        np.testing.assert_array_equal(ev.grad(lambda x: x * x)(t).asnumpy(), 2 * a)
        np.testing.assert_array_equal((t + a).asnumpy(), a + a)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_flow(value):
    x = Tensor(np.array([value, 1.0]))
    for modes in (ev.grad, lambda f: lambda x: ev.jvp(f, x, ops.ones_like(x))[1], lambda f: ev.jit(ev.grad(f))):
        got = modes(lambda x: x * x * 2)(x).asnumpy()
        np.testing.assert_array_equal(got, [4 * value, 4.0])
        got = modes(modes(lambda x: x**3))(x).asnumpy()
        np.testing.assert_array_equal(got, [6 * value, 6.0])
    assert np.isnan(ops.sum(x - x).item())


def test_empty_tensors_differentiate():
    x = Tensor(np.zeros((0, 3)))
    assert ev.grad(lambda x: ops.sum(ops.sin(x)))(x).shape == (0, 3)
    assert ev.jvp(ops.sin, x, x)[1].shape == (0, 3)
    assert ev.hessian(lambda x: ops.sum(x * x))(x).shape == (0, 3, 0, 3)
