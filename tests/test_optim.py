"""Optimisers against their formulas in NumPy, learning rates, groups, clipping, and errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evolute as ev
from evolute import DTypeError, Parameter, ShapeError, Tensor, nn, ops

STEPS = 5


def gradients(dtype=np.float64):
    rng = np.random.default_rng(3)
    return [[rng.standard_normal((3, 2)).astype(dtype), rng.standard_normal(4).astype(dtype)] for _ in range(STEPS)]


def parameters(dtype=np.float64):
    rng = np.random.default_rng(4)
    return [
        Parameter(rng.standard_normal((3, 2)).astype(dtype), "w"),
        Parameter(rng.standard_normal(4).astype(dtype), "b"),
    ]


def run(make, dtype=np.float64):
    params = parameters(dtype)
    optimizer = make(params)
    for step in gradients(dtype):
        optimizer([Tensor(g) for g in step])
    assert optimizer.global_step.item() == STEPS
    return [p.asnumpy() for p in params]


def reference(update, dtype=np.float64):
    """Apply `update(w, g, t, state) -> w` to each parameter."""
    result = []
    for i, parameter in enumerate(parameters(dtype)):
        w, state = parameter.asnumpy().astype(np.float64), {}
        for t, step in enumerate(gradients(dtype), 1):
            w = update(w, step[i].astype(np.float64), t, state)
        result.append(w)
    return result


def sgd(rate, momentum=0.0, dampening=0.0, decay=0.0, nesterov=False):
    def update(w, g, t, state):
        g = g + decay * w
        if momentum:
            state["v"] = g if t == 1 else momentum * state["v"] + (1 - dampening) * g
            g = g + momentum * state["v"] if nesterov else state["v"]
        return w - rate * g

    return update


def adam(rate, beta1=0.9, beta2=0.999, eps=1e-8, decay=0.0, decoupled=False, amsgrad=False):
    def update(w, g, t, state):
        if decoupled:
            w = w * (1 - rate * decay)
        else:
            g = g + decay * w
        m = state["m"] = beta1 * state.get("m", 0) + (1 - beta1) * g
        v = state["v"] = beta2 * state.get("v", 0) + (1 - beta2) * g**2
        if amsgrad:
            v = state["largest"] = np.maximum(state.get("largest", 0), v)
        return w - rate * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)

    return update


CASES = {
    "sgd": (lambda p: nn.SGD(p, 0.1), sgd(0.1)),
    "sgd with decay": (lambda p: nn.SGD(p, 0.1, weight_decay=0.2), sgd(0.1, decay=0.2)),
    "sgd with momentum": (lambda p: nn.SGD(p, 0.1, 0.9, 0.3, 0.2), sgd(0.1, 0.9, 0.3, 0.2)),
    "sgd nesterov": (lambda p: nn.SGD(p, 0.1, 0.9, nesterov=True), sgd(0.1, 0.9, nesterov=True)),
    "momentum": (lambda p: nn.Momentum(p, 0.1, 0.8, 0.1), sgd(0.1, 0.8, decay=0.1)),
    "momentum nesterov": (lambda p: nn.Momentum(p, 0.1, 0.8, use_nesterov=True), sgd(0.1, 0.8, nesterov=True)),
    "adam": (lambda p: nn.Adam(p, 0.01), adam(0.01)),
    "adam of large eps": (lambda p: nn.Adam(p, 0.01, 0.8, 0.9, 0.5), adam(0.01, 0.8, 0.9, 0.5)),
    "adam with decay": (lambda p: nn.Adam(p, 0.01, weight_decay=0.3), adam(0.01, decay=0.3)),
    "amsgrad": (lambda p: nn.Adam(p, 0.01, 0.5, 0.6, use_amsgrad=True), adam(0.01, 0.5, 0.6, amsgrad=True)),
    "adamw": (lambda p: nn.AdamW(p, 0.01, weight_decay=0.3), adam(0.01, decay=0.3, decoupled=True)),
}


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-6)], ids=["f64", "f32"])
@pytest.mark.parametrize("case", CASES)
def test_updates_are_those_of_the_formulas(case, dtype, tolerance):
    make, update = CASES[case]
    for got, wanted in zip(run(make, dtype), reference(update, dtype), strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


@given(
    rate=st.floats(1e-5, 1.0),
    beta1=st.floats(0.0, 0.99),
    beta2=st.floats(0.0, 0.9999),
    eps=st.floats(1e-10, 1.0),
    decay=st.floats(0.0, 0.5),
)
def test_adam_of_any_numbers(rate, beta1, beta2, eps, decay):
    got = run(lambda p: nn.AdamW(p, rate, beta1, beta2, eps, decay))
    wanted = reference(adam(rate, beta1, beta2, eps, decay, decoupled=True))
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_updates_are_compiled_once_in_both_modes():
    for mode in (ev.GRAPH_MODE, ev.PYNATIVE_MODE):
        ev.set_context(mode=mode)
        try:
            optimizer = nn.Adam(parameters(), 0.01)
            for step in gradients():
                optimizer([Tensor(g) for g in step])
            assert optimizer._compiled().recorded == 1
            assert "steps (bytes" in optimizer.explain()
        finally:
            ev.set_context(mode=ev.PYNATIVE_MODE)


# ---- Learning rates


def rates(schedule, steps=6):
    return [schedule(Tensor(i)).item() for i in range(steps)]


@pytest.mark.parametrize(
    ("schedule", "formula"),
    [
        (nn.ExponentialDecayLR(0.1, 0.5, 2), lambda t: 0.1 * 0.5 ** (t / 2)),
        (nn.ExponentialDecayLR(0.1, 0.5, 2, is_stair=True), lambda t: 0.1 * 0.5 ** (t // 2)),
        (nn.NaturalExpDecayLR(0.1, 0.5, 2), lambda t: 0.1 * math.exp(-0.5 * t)),
        (nn.NaturalExpDecayLR(0.1, 0.5, 2, is_stair=True), lambda t: 0.1 * math.exp(-0.5 * (t // 2) * 2)),
        (nn.InverseDecayLR(0.1, 0.5, 2), lambda t: 0.1 / (1 + 0.5 * t / 2)),
        (nn.CosineDecayLR(0.01, 0.1, 4), lambda t: 0.01 + 0.045 * (1 + math.cos(math.pi * min(t, 4) / 4))),
        (nn.PolynomialDecayLR(0.1, 0.01, 4, 2.0), lambda t: 0.09 * (1 - min(t, 4) / 4) ** 2 + 0.01),
        (nn.WarmUpLR(0.1, 3), lambda t: 0.1 * min(t, 3) / 3),
    ],
)
def test_schedules(schedule, formula):
    np.testing.assert_allclose(rates(schedule), [formula(t) for t in range(6)], rtol=1e-14)


def descend(rate, steps=4, **options):
    """Return how far each step of unit gradient goes."""
    w = Parameter(Tensor([0.0], ev.float64), "w")
    optimizer = nn.SGD([w], rate, **options)
    places = [0.0]
    for _ in range(steps):
        optimizer([Tensor([1.0], ev.float64)])
        places.append(w.item())
    return -np.diff(places), optimizer


def test_the_rate_of_each_step():
    np.testing.assert_allclose(descend(nn.ExponentialDecayLR(0.5, 0.5, 1))[0], [0.5, 0.25, 0.125, 0.0625])
    np.testing.assert_allclose(descend([0.5, 0.25, 0.125])[0], [0.5, 0.25, 0.125, 0.125])
    np.testing.assert_allclose(descend(Tensor(0.25))[0], [0.25] * 4)
    _, optimizer = descend(nn.WarmUpLR(0.5, 4), 2)
    assert optimizer.get_lr().item() == 0.25


def test_a_rate_set_anew_needs_no_new_recording():
    w = Parameter([0.0], "w")
    optimizer = nn.SGD([w], 0.5)
    optimizer([Tensor([1.0])])
    optimizer.learning_rate = 0.25
    optimizer([Tensor([1.0])])
    assert w.item() == -0.75
    assert optimizer._compiled().recorded == 1
    with pytest.raises(ValueError, match="learning_rate is not negative"):
        optimizer.learning_rate = -1.0


def test_groups_have_rates_and_decays_of_their_own():
    w, b = Parameter([1.0], "w"), Parameter([1.0], "b")
    optimizer = nn.SGD([{"params": [w], "lr": 0.5}, {"params": [b], "weight_decay": 0.0}], 0.25, weight_decay=1.0)
    optimizer([Tensor([1.0]), Tensor([1.0])])
    assert (w.item(), b.item()) == (0.0, 0.75)
    schedule = nn.SGD([{"params": [w], "lr": nn.WarmUpLR(1.0, 2)}, {"params": [b]}], 0.25)
    for _ in range(3):
        schedule([Tensor([1.0]), Tensor([0.0])])
    assert (w.item(), b.item()) == (-1.5, 0.75)


def test_a_schedule_of_ones_own():
    class Halved(nn.LearningRateSchedule):
        def construct(self, global_step):
            return 0.5**global_step

    np.testing.assert_allclose(descend(Halved())[0], [1.0, 0.5, 0.25, 0.125])


# ---- Clipping


def test_clipping():
    x = [Tensor([3.0, 0.0]), Tensor([[4.0]])]
    assert ops.global_norm(x).item() == 5.0
    np.testing.assert_allclose(np.concatenate([c.asnumpy().ravel() for c in ops.clip_by_global_norm(x)]), [0.6, 0, 0.8])
    assert [str(c) for c in ops.clip_by_global_norm(x, 10.0)] == [str(t) for t in x]
    assert str(ops.clip_by_norm(Tensor([3.0, 4.0]), 5.0)) == "[3. 4.]"
    zero = ops.clip_by_global_norm([Tensor([0.0])], 1.0)[0]
    assert zero.item() == 0.0
    with pytest.raises(ValueError, match="norm to clip to is positive"):
        ops.clip_by_norm(Tensor([1.0]), 0.0)
    with pytest.raises(ValueError, match="one tensor or more"):
        ops.clip_by_global_norm([])


# ---- Errors


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Adam([], 0.1), ValueError, "no parameters"),
        (lambda: nn.Adam(Parameter([1.0]), 0.1), TypeError, "sequence of parameters"),
        (lambda: nn.Adam(nn.Dense(1, 1), 0.1), TypeError, "trainable_params"),
        (lambda: nn.Adam([Tensor([1.0])], 0.1), TypeError, "is no Parameter"),
        (lambda: nn.Adam([Parameter([1])], 0.1), DTypeError, "not a float"),
        (lambda: nn.Adam(2 * [Parameter([1.0])], 0.1), ValueError, "twice"),
        (lambda: nn.Adam([Parameter([1.0])], -0.1), ValueError, "learning_rate is not negative"),
        (
            lambda: nn.Adam([Parameter([1.0])], "fast"),
            TypeError,
            "a sequence of numbers or a LearningRateSchedule, got a str",
        ),
        (lambda: nn.Adam([Parameter([1.0])], [[0.1]]), ShapeError, "number or a sequence"),
        (lambda: nn.Adam([Parameter([1.0])], nn.Tanh()), TypeError, "LearningRateSchedule"),
        (lambda: nn.Adam([Parameter([1.0])], 0.1, beta1=1.0), ValueError, "beta1 is not negative and below 1"),
        (lambda: nn.Adam([Parameter([1.0])], 0.1, eps=0.0), ValueError, "eps is positive"),
        (lambda: nn.Adam([Parameter([1.0])], 0.1, weight_decay=-1.0), ValueError, "weight_decay"),
        (lambda: nn.SGD([Parameter([1.0])], 0.1, nesterov=True), ValueError, "nesterov needs momentum"),
        (lambda: nn.SGD([{"params": [Parameter([1.0])], "rate": 1}], 0.1), TypeError, "a group is a dict"),
        (lambda: nn.CosineDecayLR(0.2, 0.1, 3), ValueError, "min_lr < max_lr"),
        (lambda: nn.WarmUpLR(0.2, 0), ValueError, "warmup_steps is a positive integer"),
        (lambda: nn.ExponentialDecayLR(0.2, -0.1, 3), ValueError, "decay_rate is a positive number"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("gradient", "error", "message"),
    [
        ([], ValueError, "each of 1 parameters, got 0"),
        ([Tensor([1.0, 2.0])], ShapeError, "gradient of 'w' has shape"),
        ([Tensor([1.0], ev.float64)], DTypeError, "gradient of 'w' has dtype"),
        ([1.0], TypeError, "not a Tensor"),
    ],
)
def test_bad_gradients_change_nothing(gradient, error, message):
    w = Parameter([1.0], "w")
    optimizer = nn.Momentum([w], 0.1, 0.9)
    with pytest.raises(error, match=message):
        optimizer(gradient)
    assert (w.item(), optimizer.accum[0].item(), optimizer.global_step.item()) == (1.0, 0.0, 0)
