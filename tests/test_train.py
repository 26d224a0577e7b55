"""Training steps as one compiled call, losses and layers for training, and training that goes on where it stopped."""

import numpy as np
import pytest

import evolute as ev
from evolute import DTypeError, Parameter, ShapeError, Tensor, nn, ops
from evolute.common.initializer import XavierUniform

X = np.linspace(-1.0, 1.0, 24, dtype=np.float32).reshape(12, 2)
Y = np.sin(X.sum(1, keepdims=True))


def network(seed=1):
    return nn.SequentialCell(
        nn.Dense(2, 8, XavierUniform(seed=seed), "zeros", activation="tanh"),
        nn.Dense(8, 1, XavierUniform(seed=seed + 1), "zeros"),
    )


def training(optimizer=nn.Adam, seed=1, rate=0.02, **options):
    net = network(seed)
    loss = nn.WithLossCell(net, nn.MSELoss())
    return nn.TrainOneStepCell(loss, optimizer(net.trainable_params(), rate), **options)


def values(cell):
    return {path: p.asnumpy() for path, p in cell.parameters_and_names()}


@pytest.fixture(params=[ev.GRAPH_MODE, ev.PYNATIVE_MODE], ids=["graph", "pynative"])
def mode(request):
    ev.set_context(mode=request.param)
    yield request.param
    ev.set_context(mode=ev.PYNATIVE_MODE)


@pytest.mark.usefixtures("mode")
def test_a_step_is_one_compiled_call():
    step = training()
    first = step(Tensor(X), Tensor(Y)).item()
    for _ in range(200):
        last = step(Tensor(X), Tensor(Y)).item()
    assert last < 1e-2 * first
    assert step._compiled().recorded == 1
    explained = step.explain()
    assert explained.count("\nsteps (bytes") == 1
    assert "matmul" in explained
    assert "sqrt" in explained  # Adam's, in the same plan


@pytest.mark.usefixtures("mode")
def test_the_step_is_that_of_its_parts():
    step, net = training(nn.SGD, rate=0.5), network()
    loss, gradients = ev.value_and_grad(nn.WithLossCell(net, nn.MSELoss()), None, weights=net.trainable_params())(
        Tensor(X), Tensor(Y)
    )
    assert step(Tensor(X), Tensor(Y)).item() == pytest.approx(loss.item(), rel=1e-6)
    for parameter, start, g in zip(step.optimizer.parameters, net.trainable_params(), gradients, strict=True):
        np.testing.assert_allclose(parameter.asnumpy(), start.asnumpy() - 0.5 * g.asnumpy(), rtol=1e-5, atol=1e-7)


def test_clipping_and_scaling_of_gradients():
    def moved(**options):
        step = training(nn.SGD, rate=1.0, **options)
        before = [p.asnumpy() for p in step.optimizer.parameters]
        step(Tensor(X), Tensor(Y))
        return np.concatenate([(p.asnumpy() - b).ravel() for p, b in zip(step.optimizer.parameters, before)])  # noqa: B905

    plain = moved()
    assert np.linalg.norm(plain) > 0.02
    np.testing.assert_allclose(moved(clip_norm=0.01), plain * 0.01 / np.linalg.norm(plain), rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(moved(clip_norm=100.0), plain, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(moved(sens=2.0), 2 * plain, rtol=1e-5, atol=1e-7)


def test_parameters_keep_their_names_and_frozen_ones_their_values():
    net = network()
    net[0].weight.requires_grad = False
    frozen = net[0].weight.asnumpy()
    step = nn.TrainOneStepCell(nn.WithLossCell(net, nn.MSELoss()), nn.Adam(net.trainable_params(), 0.1))
    step(Tensor(X), Tensor(Y))
    assert [p.name for p in net.get_parameters()] == ["0.weight", "0.bias", "1.weight", "1.bias"]
    np.testing.assert_array_equal(net[0].weight.asnumpy(), frozen)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.TrainOneStepCell(network(), None), TypeError, "optimizer is an Optimizer"),
        (lambda: nn.TrainOneStepCell(1, None), TypeError, "network is a cell"),
        (lambda: nn.WithLossCell(network(), "mse"), TypeError, "loss_fn is a cell"),
    ],
)
def test_bad_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_a_loss_is_one_number():
    net = network()
    optimizer = nn.SGD(net.trainable_params(), 0.1)
    before = values(net)
    with pytest.raises(ShapeError, match="take the mean or the sum"):
        nn.TrainOneStepCell(net, optimizer)(Tensor(X))
    with pytest.raises(DTypeError, match="must return the loss"):
        nn.TrainOneStepCell(lambda x: (net(x), 1), optimizer)(Tensor(X))
    assert all((before[path] == value).all() for path, value in values(net).items())


def test_fit_reports():
    step, seen = training(), []

    def report(n, loss):
        seen.append((n, loss))
        return "fine"

    losses = nn.fit(step, [(Tensor(X), Tensor(Y))] * 7, progress=False, report=report, every=3)
    assert [n for n, _ in seen] == [3, 6]
    assert [loss for _, loss in seen] == [losses[2], losses[5]]
    assert len(losses) == 7
    assert losses[-1] < losses[0]
    with pytest.raises(ValueError, match="every is a positive integer"):
        nn.fit(step, [], every=0)


def test_fit_draws_a_bar(capsys):
    pytest.importorskip("tqdm")
    nn.fit(training(), [(Tensor(X), Tensor(Y))] * 4, progress="training", every=2)
    drawn = capsys.readouterr().err
    assert "training" in drawn
    assert "4/4" in drawn


# ---- Going on where training stopped


@pytest.mark.parametrize("optimizer", [nn.SGD, lambda p, rate: nn.Momentum(p, rate, 0.9), nn.Adam, nn.AdamW])
def test_training_resumes_bit_for_bit(optimizer, tmp_path):
    rng = np.random.default_rng(0)
    batches = [(Tensor(X), Tensor(Y + rng.standard_normal(Y.shape).astype(np.float32))) for _ in range(10)]
    whole = training(optimizer)
    losses = nn.fit(whole, batches, progress=False)
    half = training(optimizer)
    nn.fit(half, batches[:5], progress=False)
    ev.save_checkpoint(half, tmp_path / "half.safetensors")
    resumed = training(optimizer, seed=9)
    ev.load_checkpoint(tmp_path / "half.safetensors", resumed, strict_load=True)
    assert nn.fit(resumed, batches[5:], progress=False) == losses[5:]
    wanted, got = values(whole), values(resumed)
    assert wanted.keys() == got.keys()
    for path, value in wanted.items():
        assert value.tobytes() == got[path].tobytes(), path


def test_a_rate_that_was_set_is_saved(tmp_path):
    step = training()
    step.optimizer.learning_rate = 0.005
    ev.save_checkpoint(step, tmp_path / "step.safetensors")
    fresh = training()
    ev.load_checkpoint(tmp_path / "step.safetensors", fresh, strict_load=True)
    assert fresh.optimizer.get_lr().item() == 0.005


def test_wrong_files_are_refused(tmp_path):
    file = tmp_path / "sgd.safetensors"
    ev.save_checkpoint(training(nn.SGD), file)
    step = training(nn.Adam, seed=5)
    before = values(step)
    with pytest.raises(KeyError, match="moment1"):
        ev.load_checkpoint(file, step, strict_load=True)
    wide = {path: np.zeros((9, *value.shape), value.dtype) for path, value in before.items()}
    ev.save_checkpoint({path: Tensor(value) for path, value in wide.items()}, file)
    with pytest.raises(ShapeError, match="has shape"):
        ev.load_checkpoint(file, step, strict_load=True)
    ev.save_checkpoint({path: Tensor(value.astype(np.float64)) for path, value in before.items()}, file)
    with pytest.raises(DTypeError, match="has dtype"):
        ev.load_checkpoint(file, step, strict_load=True)
    whole = (tmp_path / "whole.safetensors", tmp_path / "cut.safetensors")
    ev.save_checkpoint(step, whole[0])
    whole[1].write_bytes(whole[0].read_bytes()[:-7])
    with pytest.raises(ValueError, match="not a safetensors file"):
        ev.load_checkpoint(whole[1], step)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ev.load_checkpoint(tmp_path / "none", step)
    after = values(step)
    assert all(before[path].tobytes() == after[path].tobytes() for path in before)


# ---- Losses and layers


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.usefixtures("mode")
def test_huber_loss():
    x = np.array([-3.0, -1.0, -0.2, 0.0, 0.5, 1.0, 4.0])
    for delta in (0.5, 1.0, 2.0):
        wanted = np.where(abs(x) <= delta, x**2 / 2, delta * (abs(x) - delta / 2))
        got = nn.HuberLoss("none", delta)(Tensor(x), Tensor(np.zeros(7)))
        np.testing.assert_allclose(got.asnumpy(), wanted, rtol=1e-15)
    slope = ev.grad(nn.HuberLoss("sum"))(Tensor(x + 0.01), Tensor(np.zeros(7)))
    np.testing.assert_allclose(slope.asnumpy(), np.clip(x + 0.01, -1, 1), rtol=1e-14)
    assert nn.HuberLoss()(Tensor(x), Tensor(np.zeros(7))).item() == pytest.approx(
        np.where(abs(x) <= 1, x**2 / 2, abs(x) - 0.5).mean()
    )


@pytest.mark.usefixtures("mode")
def test_cross_entropy():
    rng = np.random.default_rng(2)
    logits, labels = rng.standard_normal((5, 3)), np.array([0, 2, -100, 1, 2])
    weight = np.array([0.2, 0.5, 0.3])
    counted = labels >= 0
    logp = np.log(softmax(logits))
    picked = -logp[np.arange(5), np.maximum(labels, 0)]
    args = Tensor(logits), Tensor(labels)
    assert nn.CrossEntropyLoss()(*args).item() == pytest.approx(picked[counted].mean())
    assert nn.CrossEntropyLoss(reduction="sum")(*args).item() == pytest.approx(picked[counted].sum())
    np.testing.assert_allclose(nn.CrossEntropyLoss(reduction="none")(*args).asnumpy(), picked * counted)
    w = np.where(counted, weight[np.maximum(labels, 0)], 0.0)
    assert nn.CrossEntropyLoss(Tensor(weight))(*args).item() == pytest.approx((w * picked).sum() / w.sum())
    smooth = 0.9 * picked - 0.1 * logp.mean(1)
    assert nn.CrossEntropyLoss(label_smoothing=0.1)(*args).item() == pytest.approx(smooth[counted].mean())


@pytest.mark.usefixtures("mode")
def test_cross_entropy_of_probabilities():
    rng = np.random.default_rng(2)
    logits, target = rng.standard_normal((5, 3)), softmax(rng.standard_normal((5, 3)))
    logp = np.log(softmax(logits))
    args = Tensor(logits), Tensor(target)
    assert nn.CrossEntropyLoss()(*args).item() == pytest.approx(-(target * logp).sum(1).mean())
    np.testing.assert_allclose(
        ev.grad(nn.CrossEntropyLoss(reduction="sum"))(*args).asnumpy(), softmax(logits) - target, rtol=1e-12
    )


def test_losses_refuse_what_does_not_fit():
    with pytest.raises(ShapeError, match="one label per row"):
        nn.CrossEntropyLoss()(Tensor(np.zeros((2, 3))), Tensor([1]))
    with pytest.raises(ShapeError, match="logits have shape"):
        nn.CrossEntropyLoss()(Tensor(np.zeros(3)), Tensor([1]))
    with pytest.raises(ShapeError, match="the logits' shape"):
        nn.CrossEntropyLoss()(Tensor(np.zeros((2, 3))), Tensor(np.zeros((2, 2))))
    with pytest.raises(ValueError, match="delta is positive"):
        nn.HuberLoss(delta=0.0)
    with pytest.raises(ValueError, match="label_smoothing"):
        nn.CrossEntropyLoss(label_smoothing=2.0)


@pytest.mark.usefixtures("mode")
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_layer_norm(shape):
    rng = np.random.default_rng(5)
    x, gamma, beta = rng.standard_normal((6, 3, 4)), rng.standard_normal(shape), rng.standard_normal(shape)
    layer = nn.LayerNorm(shape if len(shape) > 1 else 4, Tensor(gamma), Tensor(beta), dtype=ev.float64)
    axes = tuple(range(-len(shape), 0))
    wanted = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + 1e-7) * gamma + beta
    np.testing.assert_allclose(layer(Tensor(x)).asnumpy(), wanted, rtol=1e-12)


def test_layer_norm_refuses_what_does_not_fit():
    with pytest.raises(ShapeError, match="last axes of x"):
        nn.LayerNorm(3)(Tensor([[1.0, 2.0]]))
    with pytest.raises(ShapeError, match="last axes of x"):
        nn.LayerNorm((2, 3))(Tensor([1.0, 2.0, 3.0]))
    with pytest.raises(ValueError, match="positive integers"):
        nn.LayerNorm(0)


@pytest.mark.usefixtures("mode")
def test_fourier_features():
    layer = nn.FourierFeatures(2, 50, sigma=3.0, seed=4, dtype=ev.float64)
    frequencies = layer.frequencies.asnumpy()
    assert abs(frequencies.std() - 3.0) < 0.6
    x = np.random.default_rng(1).standard_normal((5, 2))
    angle = 2 * np.pi * x @ frequencies
    np.testing.assert_allclose(layer(Tensor(x)).asnumpy(), np.hstack([np.cos(angle), np.sin(angle)]), atol=1e-12)
    assert layer.trainable_params() == []
    np.testing.assert_array_equal(nn.FourierFeatures(2, 50, 3.0, 4, ev.float64).frequencies.asnumpy(), frequencies)


def test_fourier_features_refuse_what_does_not_fit():
    with pytest.raises(ShapeError, match="in_channels = 2"):
        nn.FourierFeatures(2, 3)(Tensor([1.0]))
    with pytest.raises(ValueError, match="sigma"):
        nn.FourierFeatures(2, 3, sigma=0.0)
    with pytest.raises(ValueError, match="num_features"):
        nn.FourierFeatures(2, 0)


def test_parameters_that_a_loss_does_not_use_stay():
    used, unused = Parameter([1.0], "used"), Parameter([1.0], "unused")
    step = nn.TrainOneStepCell(lambda: ops.sum(used**2), nn.SGD([used, unused], 0.25))
    assert step().item() == 1.0
    assert (used.item(), unused.item()) == (0.5, 1.0)
