"""Parameters in safetensors files."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest

import evolute as ev
from evolute import DTypeError, Parameter, ShapeError, Tensor, nn

safetensors_numpy = pytest.importorskip("safetensors.numpy")


def network(seed):
    rng = np.random.default_rng(seed)
    net = nn.SequentialCell(nn.Dense(3, 4, activation="tanh"), nn.Dense(4, 2, dtype=ev.float64))
    for p in net.get_parameters():
        p.set_data(Tensor(rng.normal(size=p.shape), p.dtype))
    return net


def values(net):
    return {path: p.asnumpy().copy() for path, p in net.parameters_and_names()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])
        assert a[name].dtype == b[name].dtype


def test_round_trip(tmp_path):
    net, other = network(0), network(1)
    ev.save_checkpoint(net, tmp_path / "net.safetensors")
    parameters = ev.load_checkpoint(tmp_path / "net.safetensors")
    assert all(isinstance(p, Parameter) and p.name == name for name, p in parameters.items())
    assert_same({name: p.asnumpy() for name, p in parameters.items()}, values(net))
    assert ev.load_param_into_net(other, parameters) == ([], [])
    assert_same(values(other), values(net))
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_other_programs_read_the_file(tmp_path):
    net = network(0)
    ev.save_checkpoint(net, str(tmp_path / "net.safetensors"), metadata={"epoch": "3"})
    assert_same(safetensors_numpy.load_file(tmp_path / "net.safetensors"), values(net))


def test_files_of_other_programs_are_read(tmp_path):
    arrays = {
        "half": np.linspace(0, 1, 6).reshape(2, 3),
        "flags": np.array([True, False]),
        "n": np.array(7, np.int32),
        "empty": np.zeros((0, 2), np.int64),
    }
    safetensors_numpy.save_file(arrays, tmp_path / "x.safetensors")
    assert_same({name: p.asnumpy() for name, p in ev.load_checkpoint(tmp_path / "x.safetensors").items()}, arrays)


def test_views_are_saved_as_they_look(tmp_path):
    x = Tensor(np.arange(6.0).reshape(2, 3))
    ev.save_checkpoint({"t": x.T}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(ev.load_checkpoint(tmp_path / "x.safetensors")["t"].asnumpy(), x.T.asnumpy())


def test_a_net_inside_another_keeps_its_paths(tmp_path):
    net, other = network(0), network(1)
    nn.CellList([net])
    assert net[0].weight.name == "0.0.weight"
    ev.save_checkpoint(net, tmp_path / "net.safetensors")
    ev.load_checkpoint(tmp_path / "net.safetensors", net=other, strict_load=True)
    assert_same(values(other), values(net))


def test_lists_of_parameters_are_stored_by_name(tmp_path):
    ev.save_checkpoint([Parameter([1.0], "a"), Parameter([2.0], "b")], tmp_path / "x.safetensors")
    assert set(ev.load_checkpoint(tmp_path / "x.safetensors")) == {"a", "b"}


def test_partial_loads():
    net = network(0)
    before = values(net)
    missing, unused = ev.load_param_into_net(net, {"0.bias": np.zeros(4, np.float32), "other": np.zeros(1)})
    assert missing == ["0.weight", "1.weight", "1.bias"]
    assert unused == ["other"]
    assert_same(values(net), {**before, "0.bias": np.zeros(4, np.float32)})


@pytest.mark.parametrize(
    ("changes", "strict", "error", "message"),
    [
        ({"1.bias": np.zeros(3)}, False, ShapeError, r"'1.bias' has shape \(2,\), but the value \(3,\)"),
        ({"1.bias": np.zeros(2, np.float32)}, False, DTypeError, "'1.bias' has dtype Float64, but the value Float32"),
        ({"other": np.zeros(2)}, True, KeyError, r"no value for none, no parameter for \['other'\]"),
        ({"1.bias": None}, True, KeyError, r"no value for \['1.bias'\], no parameter for none"),
    ],
)
def test_a_failed_load_changes_nothing(changes, strict, error, message):
    net = network(0)
    before = values(net)
    wanted = {name: value for name, value in {**values(network(1)), **changes}.items() if value is not None}
    with pytest.raises(error, match=message):
        ev.load_param_into_net(net, wanted, strict_load=strict)
    assert_same(values(net), before)


@pytest.mark.parametrize(
    "content",
    [b"", b"not a checkpoint at all", b"\xff" * 64, struct.pack("<Q", 10**6) + b"{}", struct.pack("<Q", 4) + b"abcd"],
)
def test_wrong_files(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.safetensors' is not a safetensors file"):
        ev.load_checkpoint(tmp_path / "x.safetensors")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ev.load_checkpoint(tmp_path / "nothing.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        ev.load_checkpoint(tmp_path)


@pytest.mark.parametrize("dtype", ["F16", "BF16", "I8"])
def test_element_types_that_do_not_exist_here(tmp_path, dtype):
    size = 1 if dtype == "I8" else 2
    header = json.dumps({"w": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}).encode()
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * size)
    with pytest.raises(DTypeError, match=f"'w' in .* has element type {dtype}; only bool"):
        ev.load_checkpoint(tmp_path / "x.safetensors")


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.safetensors"
    ev.save_checkpoint({"a": Tensor([1.0])}, path)
    old = path.read_bytes()
    for bad, error in [
        ({"a": 3}, TypeError),
        ({1: Tensor([1.0])}, TypeError),
        ([Tensor([1.0])], TypeError),
        (3, TypeError),
        ("text", TypeError),
        ([Parameter([1.0], "a"), Parameter([1.0], "a")], ValueError),
    ]:
        with pytest.raises(error, match="save_checkpoint"):
            ev.save_checkpoint(bad, path)
    assert path.read_bytes() == old
    with pytest.raises(OSError, match="nowhere"):
        ev.save_checkpoint({"a": Tensor([1.0])}, tmp_path / "nowhere" / "x.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


def test_bad_targets():
    with pytest.raises(TypeError, match="net is a Cell, got a dict"):
        ev.load_param_into_net({}, {})
    with pytest.raises(TypeError, match="needs a mapping of names, got a list"):
        ev.load_param_into_net(network(0), [])


def test_without_the_library_the_error_says_what_to_install(tmp_path):
    code = (
        "import sys; sys.modules['safetensors'] = None\n"
        "import evolute as ev\n"
        f"ev.load_checkpoint({str(tmp_path / 'x')!r})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "ImportError: checkpoints need the safetensors library" in run.stderr
    assert "pip install evolute[io]" in run.stderr


def test_shapes_stay_as_they_are(tmp_path):
    tensors = {"scalar": ev.Tensor(2.5), "empty": ev.Tensor(np.zeros((0, 3))), "view": ev.Tensor(np.ones((2, 3))).T}
    ev.save_checkpoint(tensors, tmp_path / "file")
    loaded = ev.load_checkpoint(tmp_path / "file")
    assert {name: p.shape for name, p in loaded.items()} == {"scalar": (), "empty": (0, 3), "view": (3, 2)}
