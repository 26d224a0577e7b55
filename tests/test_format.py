"""Printing of tensors."""

import numpy as np
import pytest

import evolute as ev
from evolute import Parameter, Tensor


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.float32(3.5), "Tensor(shape=[], dtype=Float32, value= 3.5)"),
        (np.array(7), "Tensor(shape=[], dtype=Int64, value= 7)"),
        (np.array([2.15359993e01], np.float32), "Tensor(shape=[1], dtype=Float32, value= [ 2.15359993e+01])"),
        (
            np.array([-0.5, 1 / 3, 1e300]),
            "Tensor(shape=[3], dtype=Float64, value= [-5.00000000e-01,  3.33333333e-01,  1.00000000e+300])",
        ),
        (
            np.array([np.nan, np.inf, -np.inf, -0.0], np.float32),
            "Tensor(shape=[4], dtype=Float32, value= "
            "[            nan,             inf,            -inf, -0.00000000e+00])",
        ),
        (np.array([1, -20, 3], np.int32), "Tensor(shape=[3], dtype=Int32, value= [  1, -20,   3])"),
        (np.array([True, False]), "Tensor(shape=[2], dtype=Bool, value= [ True, False])"),
        (
            np.array([[0, 6], [15, -4]], np.float32),
            "Tensor(shape=[2, 2], dtype=Float32, value=\n"
            "[[ 0.00000000e+00,  6.00000000e+00],\n"
            " [ 1.50000000e+01, -4.00000000e+00]])",
        ),
        (np.array([[[1, 2]], [[3, 4]]]), "Tensor(shape=[2, 1, 2], dtype=Int64, value=\n[[[1, 2]],\n\n [[3, 4]]])"),
        (np.zeros(0, np.float32), "Tensor(shape=[0], dtype=Float32, value= [])"),
        (np.zeros((0, 3), np.int32), "Tensor(shape=[0, 3], dtype=Int32, value= [])"),
    ],
)
def test_repr(array, text):
    assert repr(Tensor(array)) == text


@pytest.mark.parametrize(
    "array",
    [
        np.float32(4.5099998),
        np.array([4.5099998, 2.7], np.float32),
        np.arange(6.0).reshape(2, 3),
        np.array([True, False]),
        np.zeros((2, 0)),
        np.arange(5000),
    ],
)
def test_str_is_that_of_the_array(array):
    assert str(Tensor(array)) == str(np.asarray(array))
    assert f"{Tensor(array)}" == str(np.asarray(array))


def test_long_tensors_are_shortened_as_numpy_does():
    text = repr(Tensor(np.arange(5000, dtype=np.float32)))
    assert text.startswith("Tensor(shape=[5000], dtype=Float32, value= [ 0.00000000e+00,  1.00000000e+00,")
    assert "..." in text
    assert text.endswith(" 4.99900000e+03])")
    with np.printoptions(threshold=2, edgeitems=1):
        assert (
            repr(Tensor([1.0, 2.0, 3.0]))
            == "Tensor(shape=[3], dtype=Float32, value= [ 1.00000000e+00, ...,  3.00000000e+00])"
        )


def test_containers_show_the_repr():
    assert str((Tensor([1.0]),)) == "(Tensor(shape=[1], dtype=Float32, value= [ 1.00000000e+00]),)"


def test_views_print_their_elements():
    x = Tensor(np.arange(6.0).reshape(2, 3))
    assert str(x.T) == str(np.arange(6.0).reshape(2, 3).T)
    assert str(x[:, 1]) == "[1. 4.]"


def test_recorded_tensors_have_no_values_yet():
    texts = []

    @ev.jit
    def f(x):
        texts.extend([repr(x), str(x)])
        return x * 2

    f(Tensor([1.0, 2.0]))
    assert texts == ["Tensor(shape=[2], dtype=Float32, value=<traced>)"] * 2


def test_differentiated_tensors_print_their_values():
    texts = []

    def f(x):
        texts.append(str(x))
        return (x * x).sum()

    ev.grad(f)(Tensor([1.0, 2.0]))
    assert texts == ["[1. 2.]"]


def test_parameters_print_what_they_are():
    z = Parameter(Tensor([1.0]), name="z")
    assert repr(z) == str(z) == "Parameter (name=z, shape=(1,), dtype=Float32, requires_grad=True)"
    assert str(z.value()) == "[1.]"
