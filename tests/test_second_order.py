"""Second-order optimisers against NumPy's linear algebra, and SciPy's minimisers on parameters."""

import itertools

import numpy as np
import pytest
from scipy import optimize as scipy_optimize

import evolute as ev
from evolute import DTypeError, Parameter, ShapeError, Tensor, nn, ops
from evolute.common.initializer import XavierUniform


def network(dtype=ev.float64, widths=(2, 6, 3), seed=3):
    sizes = itertools.pairwise(widths)
    layers = [nn.Dense(a, b, XavierUniform(seed=seed + i), "zeros", dtype=dtype) for i, (a, b) in enumerate(sizes)]
    cells = [cell for layer in layers for cell in (layer, nn.Tanh())]
    return nn.SequentialCell(*cells[:-1])


RNG = np.random.default_rng(0)
X = Tensor(RNG.standard_normal((10, 2)))
Y = Tensor(RNG.standard_normal((10, 3)))
LABELS = Tensor(RNG.integers(0, 3, 10))


def flat(parameters):
    return np.concatenate([p.asnumpy().ravel() for p in parameters])


def matrices(net, x=X):
    """Jacobian of the network's outputs by its parameters, as NumPy has it."""
    params = net.trainable_params()
    rows = []
    for i in range(10):
        for j in range(3):
            gradient = ev.grad(lambda x, i=i, j=j: net(x)[i, j], None, weights=params)(x)
            rows.append(flat(gradient))
    return np.array(rows)


def gradient_and_hessian(loss, params):
    values = tuple(p.value() for p in params)

    def of_values(*values):
        return nn.functional_call(loss, params, values)

    positions = tuple(range(len(values)))
    blocks = ev.hessian(of_values, positions)(*values)
    rows = [[b.asnumpy().reshape(p.size, q.size) for b, q in zip(r, params)] for r, p in zip(blocks, params)]  # noqa: B905
    return flat(ev.grad(of_values, positions)(*values)), np.block(rows)


# ---- Gauss–Newton


def test_a_gauss_newton_step_solves_the_damped_equations():
    net = network()
    params = net.trainable_params()
    start = flat(params)
    residual = (net(X) - Y).asnumpy().ravel()
    jacobian = matrices(net)
    damping = 0.3
    step = nn.GaussNewton(lambda x, y: net(x) - y, params, damping=damping, iterations=500, tolerance=1e-12)
    loss = step(X, Y).item()
    assert loss == pytest.approx(0.5 * residual @ residual)
    wanted = np.linalg.solve(jacobian.T @ jacobian + damping * np.eye(start.size), -jacobian.T @ residual)
    np.testing.assert_allclose(flat(params) - start, wanted, rtol=1e-7, atol=1e-9)
    # Nielsen's rule for the damping.
    new = (net(X) - Y).asnumpy().ravel()
    foretold = 0.5 * residual @ residual - 0.5 * np.sum((residual + jacobian @ wanted) ** 2)
    gain = 0.5 * (residual @ residual - new @ new) / foretold
    assert step.damping.item() == pytest.approx(damping * max(1 / 3, 1 - (2 * gain - 1) ** 3), rel=1e-6)


def test_a_step_that_does_not_lower_the_loss_is_not_taken():
    x = Parameter(Tensor([10.0], ev.float64), "x")
    step = nn.GaussNewton(lambda: ops.atan(x), [x], damping=1e-9)  # Newton's method diverges from here
    first = step().item()
    assert x.item() == 10.0
    assert step.damping.item() == pytest.approx(2e-9)
    step()
    assert step.damping.item() == pytest.approx(8e-9)
    losses = [step().item() for _ in range(40)]
    assert losses[-1] < 1e-12 < first


def test_residuals_of_several_parts_and_dtypes():
    a, b = Parameter(Tensor([1.0, 1.0], ev.float32), "a"), Parameter(Tensor([[2.0]], ev.float64), "b")
    step = nn.GaussNewton(lambda: (a * 3.0 - 1.0, (a * b).reshape((2, 1)) + 2.0), [a, b], damping=1e-3)
    losses = [step().item() for _ in range(12)]
    assert losses[0] == pytest.approx(0.5 * (2 * 4 + 2 * 16))
    assert losses[-1] < 1e-9
    assert (a.dtype, b.dtype) == (ev.float32, ev.float64)


def test_gauss_newton_fits_a_network():
    net = network(widths=(2, 12, 3))
    step = nn.GaussNewton(lambda x, y: net(x) - y, net.trainable_params())
    losses = [step(X, Y).item() for _ in range(60)]
    assert losses[-1] < 1e-8 * losses[0]
    assert step._compiled().recorded == 1
    assert step.explain().count("\nsteps (bytes") == 1


# ---- Newton with conjugate gradients


def test_a_newton_step_solves_with_the_hessian_where_it_is_positive_definite():
    x = Parameter(Tensor([0.3, -0.2, 0.1], ev.float64), "x")
    matrix = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.2], [0.5, 0.2, 2.0]])

    def loss():
        return ops.sum(ops.cosh(x)) + 0.5 * ops.sum(x * (Tensor(matrix) @ x)) + ops.sum(x)

    gradient, hessian = gradient_and_hessian(loss, [x])
    start = x.asnumpy()
    nn.NewtonCG(loss, [x], radius=100.0, tolerance=1e-12)()
    np.testing.assert_allclose(x.asnumpy() - start, np.linalg.solve(hessian, -gradient), rtol=1e-10)


def test_a_newton_step_stays_within_its_radius_and_follows_negative_curvature():
    x = Parameter(Tensor([0.1, 0.2], ev.float64), "x")
    step = nn.NewtonCG(lambda: ops.sum(ops.cos(x)), [x], radius=0.5)  # near a maximum
    before = x.asnumpy()
    step()
    assert np.linalg.norm(x.asnumpy() - before) == pytest.approx(0.5)
    assert step.radius.item() == pytest.approx(1.0)
    losses = [step().item() for _ in range(20)]
    assert losses[-1] == pytest.approx(-2.0)


def test_newton_takes_no_step_that_does_not_lower_the_loss():
    x = Parameter(Tensor([2.0], ev.float64), "x")
    step = nn.NewtonCG(lambda: ops.sum(ops.where(x == 2.0, x, x + 10.0)), [x], radius=1.0)
    step()
    assert (x.item(), step.radius.item()) == (2.0, 0.25)


def test_newton_trains_a_network_to_a_stationary_point():
    net = network()
    params = net.trainable_params()
    loss = nn.WithLossCell(net, nn.MSELoss())
    step = nn.NewtonCG(loss, params, tolerance=1e-3)
    for _ in range(150):
        step(X, Y)
    gradient, hessian = gradient_and_hessian(lambda: loss(X, Y), params)
    assert np.linalg.norm(gradient) < 1e-6
    assert np.linalg.eigvalsh(hessian).min() > -1e-6
    assert step._compiled().recorded == 1


# ---- Natural gradient


@pytest.mark.parametrize("loss_name", ["cross-entropy", "squares"])
def test_a_natural_gradient_step_solves_with_fishers_matrix(loss_name):
    net = network()
    params = net.trainable_params()
    start, jacobian = flat(params), matrices(net)
    if loss_name == "squares":
        loss_fn, label = nn.MSELoss(), Y
        curvature = 2 / 30 * np.eye(30)
    else:
        loss_fn, label = nn.CrossEntropyLoss(), LABELS
        curvature = np.zeros((30, 30))
        p = ops.softmax(net(X)).asnumpy()
        for i in range(10):  # E[s sᵀ] for the score s = onehot − p
            block = sum(p[i, c] * np.outer(np.eye(3)[c] - p[i], np.eye(3)[c] - p[i]) for c in range(3))
            curvature[3 * i : 3 * i + 3, 3 * i : 3 * i + 3] = block / 10
    gradient = flat(ev.grad(lambda: loss_fn(net(X), label), None, weights=params)())
    step = nn.NaturalGradient(net, loss_fn, learning_rate=0.5, damping=0.1, iterations=500, tolerance=1e-12)
    step(X, label)
    fisher = jacobian.T @ curvature @ jacobian + 0.1 * np.eye(start.size)
    np.testing.assert_allclose(flat(params) - start, -0.5 * np.linalg.solve(fisher, gradient), rtol=1e-7, atol=1e-9)


def test_natural_gradient_classifies():
    net = network(dtype=ev.float32, widths=(2, 16, 3))
    step = nn.NaturalGradient(net, nn.CrossEntropyLoss(), damping=1e-2)
    x = Tensor(X.asnumpy().astype(np.float32))
    losses = [step(x, LABELS).item() for _ in range(60)]
    assert losses[-1] < 0.05 * losses[0]


# ---- All of them


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.GaussNewton(lambda: 1), TypeError, "params are needed"),
        (lambda: nn.GaussNewton(3), TypeError, "network is a cell or a function"),
        (lambda: nn.GaussNewton(nn.Tanh()), ValueError, "no parameters"),
        (lambda: nn.GaussNewton(network(), damping=0.0), ValueError, "damping is a positive number"),
        (lambda: nn.NewtonCG(network(), iterations=0), ValueError, "iterations is a positive integer"),
        (lambda: nn.NewtonCG(network(), tolerance=-1.0), ValueError, "tolerance is a positive number"),
        (lambda: nn.NaturalGradient(network(), "loss"), TypeError, "loss_fn is a cell or a function"),
        (lambda: nn.NewtonCG(network())(X), ShapeError, "must return one number"),
        (lambda: ev.minimize(lambda: 1, []), ValueError, "no parameters"),
        (lambda: ev.minimize(1, [Parameter([1.0])]), TypeError, "function or a cell"),
        (lambda: ev.minimize(lambda: 1, [Tensor([1.0])]), TypeError, "is no Parameter"),
        (lambda: ev.minimize(lambda: 1, [Parameter([1.0])]), DTypeError, "one floating number"),
        (lambda: ev.minimize(lambda: X, [Parameter([1.0])]), ShapeError, "one number"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("make", [nn.GaussNewton, nn.NewtonCG], ids=["gauss-newton", "newton"])
def test_state_is_saved_and_training_resumes_bit_for_bit(make, tmp_path):
    def training(seed):
        net = network(seed=seed)
        if make is nn.GaussNewton:
            return nn.GaussNewton(_Residual(net))
        return nn.NewtonCG(nn.WithLossCell(net, nn.MSELoss()))

    whole, half = training(3), training(3)
    wanted = [whole(X, Y).item() for _ in range(10)]
    for _ in range(5):
        half(X, Y)
    ev.save_checkpoint(half, tmp_path / "half.safetensors")
    resumed = training(8)
    ev.load_checkpoint(tmp_path / "half.safetensors", resumed, strict_load=True)
    assert [resumed(X, Y).item() for _ in range(5)] == wanted[5:]


class _Residual(nn.Cell):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def construct(self, x, y):
        return self.net(x) - y


# ---- SciPy


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "Newton-CG", "trust-krylov", "trust-ncg", "trust-constr"])
def test_minimize_rosenbrock(method):
    x = Parameter(Tensor(np.full(4, -1.0)), "x")

    def rosenbrock(scale):
        return ops.sum(scale * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    steps = []
    options = {"gtol": 1e-7} if method in ("BFGS", "trust-krylov", "trust-ncg", "L-BFGS-B") else None
    result = ev.minimize(
        rosenbrock, [x], (100.0,), method, callback=lambda n, value: steps.append((n, value)), options=options
    )
    np.testing.assert_allclose(x.asnumpy(), np.ones(4), atol=2e-3)
    np.testing.assert_array_equal(x.asnumpy(), result.x)
    assert [n for n, _ in steps] == list(range(1, len(steps) + 1))
    assert steps[-1][1] == pytest.approx(rosenbrock(100.0).item())


def test_minimize_is_scipys_minimisation():
    x = Parameter(Tensor(np.full(4, -1.0)), "x")

    def rosenbrock():
        return ops.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

    mine = ev.minimize(rosenbrock, [x], method="L-BFGS-B")
    theirs = scipy_optimize.minimize(
        scipy_optimize.rosen, np.full(4, -1.0), jac=scipy_optimize.rosen_der, method="L-BFGS-B"
    )
    np.testing.assert_allclose(mine.x, theirs.x, rtol=1e-5)


def test_minimize_fits_a_network_of_float32():
    net = network(dtype=ev.float32, widths=(2, 16, 3))
    loss = nn.WithLossCell(net, nn.MSELoss())
    x, y = (Tensor(t.asnumpy().astype(np.float32)) for t in (X, Y))
    first = loss(x, y).item()
    ev.minimize(loss, net.trainable_params(), (x, y), options={"maxiter": 300})
    assert loss(x, y).item() < 1e-3 * first
    assert all(p.dtype == ev.float32 for p in net.get_parameters())


def test_minimize_ends_when_the_callback_says_so():
    x = Parameter(Tensor(np.full(4, -1.0)), "x")

    def stop(n, value):
        if n == 3:
            raise StopIteration

    result = ev.minimize(
        lambda: ops.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), [x], callback=stop, method="L-BFGS-B"
    )
    assert result.nit == 3


def test_functional_call_restores_the_parameters_after_an_error():
    w = Parameter([2.0], "w")
    with pytest.raises(RuntimeError, match="inside"):
        nn.functional_call(_fail, [w], [Tensor([3.0])], "inside")
    assert w.item() == 2.0
    with pytest.raises(ValueError, match="2 values for 1 parameters"):
        nn.functional_call(_fail, [w], [Tensor([3.0])] * 2)
    with pytest.raises(ShapeError):
        nn.functional_call(_fail, [w], [Tensor([3.0, 1.0])])
    assert w.item() == 2.0


def _fail(message):
    raise RuntimeError(message)
