"""Parameters and tuples of them."""

import copy
import pickle

import numpy as np
import pytest

import evolute as ev
from evolute import DTypeError, Parameter, ParameterTuple, ShapeError, Tensor


def test_holds_what_it_is_given():
    p = Parameter(np.array([1.0, 2.0]), name="p")
    assert isinstance(p, Tensor)
    assert (p.name, p.shape, p.dtype, p.requires_grad) == ("p", (2,), ev.float64, True)
    assert str(p * 2) == "[2. 4.]"
    assert Parameter([1, 2]).dtype == ev.int64
    assert Parameter(3.0, requires_grad=False).shape == ()
    assert Parameter(default_input=[1.0], name="k").name == "k"


def test_does_not_share_the_array():
    array = np.ones(2)
    p = Parameter(array)
    array[:] = 5
    assert str(p.value()) == "[1. 1.]"


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"name": ""}, ValueError, "name is empty"),
        ({"name": 3}, TypeError, "name is a string, got 3"),
        ({"requires_grad": 1}, TypeError, "requires_grad is a bool, got 1"),
    ],
)
def test_bad_arguments(kwargs, error, message):
    with pytest.raises(error, match=message):
        Parameter([1.0], **kwargs)


def test_bad_values():
    with pytest.raises(TypeError):
        Parameter(object())
    with pytest.raises(TypeError):
        Parameter()


def test_name_and_requires_grad_can_be_set():
    p = Parameter([1.0])
    assert p.name == "Parameter"
    p.name = "w"
    p.requires_grad = False
    assert repr(p) == "Parameter (name=w, shape=(1,), dtype=Float32, requires_grad=False)"
    with pytest.raises(ValueError, match="empty"):
        p.name = ""
    with pytest.raises(TypeError, match="bool"):
        p.requires_grad = None
    assert (p.name, p.requires_grad) == ("w", False)


@pytest.mark.parametrize("value", [Tensor([3.0, 4.0]), np.array([3, 4], np.float32), [3.0, 4.0], [3, 4]])
def test_set_data(value):
    p = Parameter([1.0, 2.0], "p")
    before = p.value()
    assert p.set_data(value) is p
    assert str(p.value()) == "[3. 4.]"
    assert p.dtype == ev.float32
    assert str(before) == "[1. 2.]"


def test_assign_value_takes_the_value_of_a_parameter():
    p, q = Parameter([1.0]), Parameter([2.0])
    p.assign_value(q)
    q.set_data([9.0])
    assert str(p.data) == "[2.]"
    assert type(p.data) is Tensor


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ([1.0], ShapeError),
        (Tensor([[1.0, 2.0]]), ShapeError),
        (np.array([1.0, 2.0]), DTypeError),
        (Tensor([1, 2]), DTypeError),
        (3.0, ShapeError),
    ],
)
def test_a_value_that_does_not_fit_changes_nothing(value, error):
    p = Parameter([1.0, 2.0], "p")
    with pytest.raises(error):
        p.set_data(value)
    assert str(p.value()) == "[1. 2.]"


def test_clone():
    p = Parameter([1.0, 2.0], "w", requires_grad=False)
    q = p.clone("moment")
    p.set_data([5.0, 6.0])
    assert (q.name, q.requires_grad, str(q.value())) == ("moment.w", False, "[1. 2.]")
    assert str(p.clone(init="zeros").value()) == "[0. 0.]"
    assert str(p.clone(init=3).value()) == "[3. 3.]"
    assert p.clone().name == "w"
    with pytest.raises(ValueError, match="no initialiser is named 'none'"):
        p.clone(init="none")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_copies_are_parameters_of_their_own(duplicate):
    p = Parameter(np.array([1.0, 2.0]), "w", requires_grad=False)
    q = duplicate(p)
    p.set_data(np.array([7.0, 8.0]))
    assert repr(q) == "Parameter (name=w, shape=(2,), dtype=Float64, requires_grad=False)"
    assert str(q.value()) == "[1. 2.]"


def test_gradient_with_respect_to_a_parameter():
    w = Parameter([2.0, 3.0], "w")
    gradient = ev.grad(lambda x: (w * w * x).sum(), None, weights=w)
    assert str(gradient(Tensor([1.0, 10.0]))) == "[ 4. 60.]"
    w.set_data([1.0, 1.0])
    assert str(gradient(Tensor([1.0, 10.0]))) == "[ 2. 20.]"


def test_tuple():
    a, b = Parameter([1.0], "a"), Parameter([2.0], "b")
    pair = ParameterTuple([a, b])
    assert isinstance(pair, tuple)
    assert pair[1] is b
    assert [p.name for p in pair.clone("m", init="ones")] == ["m.a", "m.b"]
    assert ParameterTuple(p for p in (a, a)) == (a, a)
    assert len(ParameterTuple()) == 0
    assert len(ParameterTuple([Parameter([1.0]), Parameter([1.0])])) == 2


@pytest.mark.parametrize(
    ("members", "error", "message"),
    [
        ([Parameter([1.0], "a"), Parameter([2.0], "a")], ValueError, "two parameters are named 'a'"),
        ([Parameter([1.0], "a"), Tensor([2.0])], TypeError, "member 1 is a Tensor, not a Parameter"),
        ([3], TypeError, "member 0 is a int"),
        (Parameter([1.0, 2.0], "a"), TypeError, "iterable of parameters, got a Parameter"),
        (3, TypeError, "not iterable"),
    ],
)
def test_bad_tuples(members, error, message):
    with pytest.raises(error, match=message):
        ParameterTuple(members)


def test_get_grad_finds_by_parameter_and_by_name():
    a, b = Parameter([1.0], "a"), Parameter([2.0], "b")
    gradients = [(a, Tensor([10.0])), (b, Tensor([20.0]))]
    assert str(ev.get_grad(gradients, b)) == "[20.]"
    assert str(ev.get_grad(gradients, "a")) == "[10.]"
    with pytest.raises(KeyError, match="c"):
        ev.get_grad(gradients, "c")
