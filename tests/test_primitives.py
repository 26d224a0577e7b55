"""Operations as objects, MindSpore's names for functions, the namespaces, and the table."""

import numpy as np
import pytest

import evolute as ev
from evolute import Parameter, Tensor, _evolute, ops
from evolute.ops import composite, functional, operations
from evolute.ops import composite as C
from evolute.ops import functional as F
from evolute.ops import operations as P

A = np.array([[0.5, -1.5, 2.0], [1.0, 0.25, -3.0]])
B = np.array([[1.0, 2.0, 0.5], [-1.0, 4.0, 0.75]])
SPD = np.array([[4.0, 1.0], [1.0, 3.0]])


@pytest.mark.parametrize(("class_name", "function", "arity"), _evolute.elementwise_classes())
def test_elementwise_primitives_are_the_functions(class_name, function, arity):
    primitive = getattr(ops, class_name)()
    args = [Tensor([0.25, 0.75]), Tensor([0.5, 0.625])][:arity]
    np.testing.assert_array_equal(primitive(*args).asnumpy(), getattr(ops, function)(*args).asnumpy())
    assert isinstance(primitive, ops.Primitive)
    assert repr(primitive) == f"{class_name}()"
    assert primitive.name == class_name
    assert f"ops.{function}(" in type(primitive).__doc__


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (lambda: ops.MatMul(transpose_b=True)(A, B), A @ B.T),
        (lambda: ops.MatMul(True)(A, B), A.T @ B),
        (lambda: ops.BatchMatMul()(np.stack([A, B]), np.stack([B.T, A.T])), np.stack([A @ B.T, B @ A.T])),
        (lambda: ops.Einsum("ij,ij->i")([A, B]), (A * B).sum(1)),
        (lambda: ops.ReduceSum()(A), A.sum()),
        (lambda: ops.ReduceSum(keep_dims=True)(A, 1), A.sum(1, keepdims=True)),
        (lambda: ops.ReduceMean()(A, (0, 1)), A.mean()),
        (lambda: ops.ReduceProd()(A, 0), A.prod(0)),
        (lambda: ops.ReduceMax()(A, 0), A.max(0)),
        (lambda: ops.ReduceMin()(A, -1), A.min(-1)),
        (lambda: ops.ReduceAll()(A > 0, 0), (A > 0).all(0)),
        (lambda: ops.ReduceAny()(A > 0, 1), (A > 0).any(1)),
        (lambda: ops.Argmax()(A), A.argmax(-1)),
        (lambda: ops.Argmin(axis=0)(A), A.argmin(0)),
        (lambda: ops.CumSum()(A, 1), A.cumsum(1)),
        (lambda: ops.CumSum(exclusive=True)(A, 1), A.cumsum(1) - A),
        (lambda: ops.CumSum(reverse=True)(A, 1), A[:, ::-1].cumsum(1)[:, ::-1]),
        (lambda: ops.Softmax(0)(A), np.exp(A) / np.exp(A).sum(0)),
        (lambda: ops.LogSoftmax()(A), A - np.log(np.exp(A).sum(-1, keepdims=True))),
        (lambda: ops.AddN()([Tensor(A), B, A]), A + B + A),
        (lambda: ops.Reshape()(A, (3, -1)), A.reshape(3, -1)),
        (lambda: ops.Flatten()(np.stack([A, B])), np.stack([A, B]).reshape(2, -1)),
        (lambda: ops.Transpose()(A, (1, 0)), A.T),
        (lambda: ops.ExpandDims()(A, 1), A[:, None]),
        (lambda: ops.Squeeze()(A[None, :, None]), A),
        (lambda: ops.Squeeze(0)(A[None, :, None]), A[:, None]),
        (lambda: ops.BroadcastTo((2, 2, 3))(A), np.broadcast_to(A, (2, 2, 3))),
        (lambda: ops.Concat(1)((A, B)), np.concatenate([A, B], 1)),
        (lambda: ops.Stack(1)([A, B]), np.stack([A, B], 1)),
        (lambda: ops.Unstack(1)(A)[2], A[:, 2]),
        (lambda: ops.Split(1, 3)(A)[1], A[:, 1:2]),
        (lambda: ops.Tile()(A, (2, 1)), np.tile(A, (2, 1))),
        (lambda: ops.Pad(((1, 0), (0, 2)))(A), np.pad(A, ((1, 0), (0, 2)))),
        (lambda: ops.ReverseV2(1)(A), A[:, ::-1]),
        (lambda: ops.Tril(-1)(A), np.tril(A, -1)),
        (lambda: ops.Triu()(A), np.triu(A)),
        (lambda: ops.Gather()(A, [2, 0], 1), A[:, [2, 0]]),
        (lambda: ops.GatherD()(A, 1, [[0, 2], [1, 1]]), np.take_along_axis(A, np.array([[0, 2], [1, 1]]), 1)),
        (lambda: ops.GatherNd()(A, [[0, 1], [1, 2]]), A[[0, 1], [1, 2]]),
        (lambda: ops.GatherNd()(A, [[1], [0]]), A[[1, 0]]),
        (lambda: ops.Select()(A > 0, A, B), np.where(A > 0, A, B)),
        (lambda: ops.LogicalNot()(A > 0), ~(A > 0)),
        (lambda: ops.Cast()(A, ev.int32), A.astype(np.int32)),
        (lambda: ops.Identity()(A), A),
        (lambda: ops.ZerosLike()(A), np.zeros_like(A)),
        (lambda: ops.OnesLike()(A), np.ones_like(A)),
        (lambda: ops.Zeros()((2, 1), ev.int32), np.zeros((2, 1), np.int32)),
        (lambda: ops.Ones()(3, ev.float64), np.ones(3)),
        (lambda: ops.Fill()(ev.float64, (2,), 1.5), np.full(2, 1.5)),
        (lambda: ops.Eye()(2, 3, ev.float64), np.eye(2, 3)),
        (lambda: ops.LinSpace()(0, 1, 5), np.linspace(0, 1, 5, dtype=np.float32)),
        (lambda: ops.Cholesky()(SPD), np.linalg.cholesky(SPD)),
        (lambda: ops.MatrixInverse()(SPD), np.linalg.inv(SPD)),
        (lambda: ops.MatrixDeterminant()(SPD), np.linalg.det(SPD)),
        (lambda: ops.LogMatrixDeterminant()(SPD)[1], np.linalg.slogdet(SPD)[1]),
        (lambda: ops.RealDiv()(A, B), A / B),
        (lambda: ops.FloorMod()(A, B), A % B),
        (lambda: ops.TensorAdd()(A, B), A + B),
        (lambda: ops.Inv()(A), 1 / A),
        (lambda: ops.reduce_mean(A, 1, True), A.mean(1, keepdims=True)),
        (lambda: ops.reduce_all(A, []), (A != 0).all()),
        (lambda: ops.batch_matmul(A, B, transpose_b=True), A @ B.T),
        (lambda: ops.clip_by_value(A, -1, 1), A.clip(-1, 1)),
        (lambda: ops.clip_by_value(A, clip_value_max=0.0), A.clip(None, 0)),
    ],
)
def test_primitives_and_aliases(result, expected):
    out = result()
    assert isinstance(out, Tensor)
    np.testing.assert_allclose(out.asnumpy(), expected, rtol=1e-14)


def test_scatter():
    indices, updates = [[0, 1], [1, 2], [0, 1]], [10.0, 20.0, 30.0]
    expected = A.copy()
    np.add.at(expected, ([0, 1, 0], [1, 2, 1]), updates)
    np.testing.assert_array_equal(ops.TensorScatterAdd()(A, indices, updates).asnumpy(), expected)
    expected = A.copy()
    expected[0, 1], expected[1, 2] = 30.0, 20.0
    np.testing.assert_array_equal(ops.TensorScatterUpdate()(A, indices, updates).asnumpy(), expected)


def test_results_that_are_no_tensors():
    x = Tensor(A)
    assert ops.Shape()(x) == ops.shape(x) == (2, 3)
    assert (ops.rank(x), ops.size(x)) == (2, 6)
    assert ops.Argmax()(x).dtype == ev.int32
    assert ops.Argmax(output_type=ev.int64)(x).dtype == ev.int64


def test_assignment_to_parameters():
    p = Parameter([1.0, 2.0])
    assert ops.Assign()(p, [3.0, 4.0]) is p
    ops.AssignAdd()(p, 1.0)
    ops.AssignSub()(p, Tensor([0.5, 0.0]))
    assert str(p.value()) == "[3.5 5. ]"


def test_identity_of_a_parameter_is_its_value():
    p = Parameter([1.0])
    value = ops.identity(p)
    p.set_data([2.0])
    assert type(value) is Tensor
    assert str(value) == "[1.]"


def test_primitives_show_their_attributes():
    assert repr(ops.Split(1, output_num=3)) == "Split(axis=1, output_num=3)"
    assert repr(ops.Argmax()) == "Argmax(axis=-1, output_type=Int32)"


def test_primitives_differentiate():
    gradient = ev.grad(ops.ReduceSum(), 0)
    np.testing.assert_array_equal(gradient(Tensor(A)).asnumpy(), np.ones_like(A))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: ops.Sin()(), TypeError),
        (lambda: ops.Add()(Tensor([1.0])), TypeError),
        (lambda: ops.addn([]), ValueError),
        (lambda: ops.MatMul()(A, B), ev.ShapeError),
        (lambda: ops.Add()(A, SPD), ev.ShapeError),
        (lambda: ops.nothing, AttributeError),
    ],
)
def test_bad_calls(call, error):
    with pytest.raises(error):
        call()


def test_namespaces():
    assert P is operations
    assert F is functional
    assert C is composite
    assert P.Sin is ops.Sin
    assert P.MatMul is ops.MatMul
    assert F.sin is ops.sin is _evolute.sin
    assert C.GradOperation is ops.GradOperation is ev.GradOperation
    assert F.grad is ops.grad is ev.grad
    assert F.jvp is ops.jvp is ev.jvp
    assert F.vjp is ops.vjp is ev.vjp
    for name in ("Tensor", "DType", "op_table", "set_formatter", "annotations", "TYPE_CHECKING", "gradient"):
        assert not hasattr(ops, name)


def test_every_function_of_the_extension_is_an_operation():
    for name in ("sum", "matmul", "where", "einsum", "stop_gradient", "solve", "standard_normal"):
        assert getattr(ops, name) is getattr(_evolute, name)


def test_table():
    table = ops.table()
    rows = list(table)
    assert len(table) == len(rows) > 60
    assert table["sin"]["class_name"] == "Sin"
    assert table[0] is table.rows[0]
    assert len(table[:3]) == 3
    with pytest.raises(KeyError, match="no_such_op"):
        table["no_such_op"]
    lines = repr(table).splitlines()
    assert len(lines) == len(table) + 2
    assert lines[0].split() == ["name", "class", "group", "derivatives", "what", "it", "is"]
    assert any(line.startswith("sin ") and "sine of x" in line for line in lines)
    assert not any(line.endswith(" ") for line in lines)
