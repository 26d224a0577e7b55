"""The op table: that it lists and documents all there is, and that each elementwise row has all its spellings."""

import inspect

import pytest

import evolute as ev
from evolute import Tensor, _evolute, ops

TABLE = ops.table()
ELEMENTWISE = [row for row in TABLE if "class_name" in row]
KERNELS = [row for row in TABLE if row["group"] == "derivative kernel"]
OTHERS = [row for row in TABLE if row not in ELEMENTWISE and row not in KERNELS]

# Primitives that are behind public functions of other names.
INTERNAL = {
    "checkpoint": [],  # a transform: evolute.checkpoint
    "custom_rule": [],  # what evolute.custom_vjp and custom_jvp leave behind
    "cofactor": ["det"],
    "iota": ["arange"],
    "logabsdet": ["slogdet"],
    "scatter_set": ["index_update"],
    "slice": ["split", "flip"],
    "unslice": ["pad"],
}
# Functions that are composed of primitives.
COMPOSED = {
    *(
        "clip",
        "diag",
        "dot",
        "einsum",
        "expand_dims",
        "eye",
        "fori_loop",
        "full",
        "full_like",
        "index_add",
        "index_increment",
        "inv",
    ),
    *(
        "log_softmax",
        "logsumexp",
        "mean",
        "moveaxis",
        "nonzero",
        "norm",
        "ones",
        "ones_like",
        "outer",
        "roll",
        "softmax",
    ),
    *("squeeze", "stack", "swapaxes", "take", "tile", "trace", "tril", "triu", "zeros", "zeros_like"),
    *(name for names in INTERNAL.values() for name in names),
}


def name_of(row):
    return row["name"]


def signature(function):
    return (function.__doc__ or "").partition("\n\n")[0]


def test_names_are_unique():
    names = [row["name"] for row in TABLE]
    assert len(set(names)) == len(names)
    classes = [row["class_name"] for row in ELEMENTWISE]
    assert len(set(classes)) == len(classes)


@pytest.mark.parametrize("row", TABLE, ids=name_of)
def test_rows_are_documented(row):
    assert row["summary"]
    assert row["summary"] == row["summary"].strip().rstrip(".")
    assert row["group"]
    assert type(row["reverse"]) is type(row["forward"]) is bool
    assert row["reverse"] == row["forward"]


@pytest.mark.parametrize("row", OTHERS, ids=name_of)
def test_structural_rows_say_what_they_compute(row):
    assert row["formula"]


@pytest.mark.parametrize("row", ELEMENTWISE, ids=name_of)
def test_elementwise_rows_have_all_spellings(row):
    name, arity = row["name"], row["arity"]
    function, method, primitive = getattr(ops, name), getattr(Tensor, name), getattr(ops, row["class_name"])
    arguments = ["x", "y"][:arity]
    assert signature(function) == f"{name}({', '.join(f'{a}: TensorLike' for a in arguments)}) -> Tensor"
    assert row["summary"] in function.__doc__
    assert issubclass(primitive, ops.Primitive)
    assert row["summary"] in primitive.__doc__
    assert row["group"] == "elementwise"
    assert row["operands"] in ("real", "number", "logical")
    lo, hi = row["domain"]
    assert lo < hi

    operands = [Tensor([lo, (lo + hi) / 2, hi], ev.float64) for _ in arguments]
    result = function(*operands)
    assert isinstance(result, Tensor)
    assert result.shape == (3,)
    for other in (method(*operands), getattr(operands[0], name)(*operands[1:]), primitive()(*operands)):
        assert other.dtype == result.dtype
        assert other.tolist() == result.tolist()


@pytest.mark.parametrize("row", ELEMENTWISE, ids=name_of)
@pytest.mark.parametrize("change", [-1, 1])
def test_all_spellings_check_the_number_of_arguments(row, change):
    x = Tensor([0.5])
    arguments = [x] * (row["arity"] + change)
    for call in (getattr(ops, row["name"]), getattr(ops, row["class_name"])()):
        with pytest.raises(TypeError, match=row["name"]):
            call(*arguments)
    if arguments:
        with pytest.raises(TypeError, match=row["name"]):
            getattr(x, row["name"])(*arguments[1:])


@pytest.mark.parametrize("row", KERNELS, ids=name_of)
def test_derivative_kernels_belong_to_an_elementwise_function(row):
    if row["name"] == "elementwise_sum":  # any of the others, and a sum
        return
    function, _, which = row["name"].partition(".")
    assert TABLE[function] in ELEMENTWISE
    assert which
    assert row["reverse"]


@pytest.mark.parametrize("row", OTHERS, ids=name_of)
def test_structural_rows_are_reachable(row):
    for name in INTERNAL.get(row["name"], [row["name"]]):
        function = getattr(ops, name)
        assert signature(function).startswith(f"{name}(")
        assert inspect.cleandoc(function.__doc__.partition("\n\n")[2])


def test_every_function_is_in_the_table_or_composed_of_what_is():
    listed = {row["name"] for row in TABLE}
    assert set(ops._functions.__all__) - listed == COMPOSED - listed


def test_differentiable_rows():
    """Only what is constant, discrete or without floating inputs has no derivative rules."""
    none = {row["name"] for row in TABLE if not row["reverse"]}
    comparisons = {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}
    logical = {"logical_and", "logical_or", "logical_xor", "any", "all"}
    steps = {"sign", "floor", "ceil", "round", "trunc", "floor_div", "argmax", "argmin"}
    creation = {"iota", "linspace", "uniform", "standard_normal"}
    assert none == comparisons | logical | steps | creation | {"stop_gradient"}


def test_rows_match_the_extension():
    assert [(row["class_name"], row["name"], row["arity"]) for row in ELEMENTWISE] == _evolute.elementwise_classes()
