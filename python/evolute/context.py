"""Settings of the process: execution mode and device.

``mode`` is `PYNATIVE_MODE` (the default: every operation runs when Python reaches it) or `GRAPH_MODE` (the outermost
`evolute.nn.Cell` that is called is recorded once per signature and replayed without the interpreter).
``device_target`` is where new tensors go: ``"CPU"``, or ``"GPU"`` where there is one. ``matmul_allow_tf32`` lets a GPU
round operands of float32 products.

Examples
--------
>>> from evolute import context
>>> context.set_context(mode=context.GRAPH_MODE, device_target="CPU")
>>> context.get_context("mode") == context.GRAPH_MODE
True
>>> context.set_context(mode=context.PYNATIVE_MODE)
"""

from __future__ import annotations

from typing import Any, Final, Literal, overload

from evolute._evolute import DeviceError, set_default_device, set_matmul_allow_tf32

__all__ = ["GRAPH_MODE", "PYNATIVE_MODE", "get_context", "set_context"]

GRAPH_MODE: Final = 0
PYNATIVE_MODE: Final = 1

_MODES: Final = {"GRAPH_MODE": GRAPH_MODE, "PYNATIVE_MODE": PYNATIVE_MODE}
_DEVICES: Final = ("CPU", "GPU", "Ascend")

_settings: dict[str, Any] = {"mode": PYNATIVE_MODE, "device_target": "CPU", "matmul_allow_tf32": False}


def set_context(**settings: Any) -> None:
    """Change settings of the process; those that are not named stay as they are.

    Parameters
    ----------
    mode : int
        `GRAPH_MODE` (0) or `PYNATIVE_MODE` (1).
    device_target : str
        ``"CPU"`` or ``"GPU"``: where new tensors go, and so what is computed from them. Tensors that exist stay where
        they are; `Tensor.to` copies them.
    matmul_allow_tf32 : bool
        Whether matrix products of float32 on a GPU may use tensor cores, which round their operands to 10 bits of
        mantissa (TF32): relative errors of 2⁻¹¹ in each factor, for a multiple of the speed. Derivatives' products too.
        Off at first. Compiled functions follow it from their next call on. It changes nothing on a CPU.

    Raises
    ------
    ValueError
        If a setting or its value is unknown.
    DeviceError
        If the device is not available.

    Notes
    -----
    When it raises, no setting has changed.

    Examples
    --------
    >>> set_context(device_target="Ascend")
    Traceback (most recent call last):
        ...
    evolute.DeviceError: set_context: device_target='Ascend' is not available: ...
    """
    for key, value in settings.items():
        _check_key("set_context", key)
        if key == "mode":
            _check_mode(value)
        elif key == "matmul_allow_tf32":
            if type(value) is not bool:
                raise ValueError(f"set_context: matmul_allow_tf32 is True or False, got {value!r}")
        elif value not in _DEVICES:
            raise ValueError(f"set_context: device_target is one of {', '.join(map(repr, _DEVICES))}, got {value!r}")
    if "device_target" in settings:
        _set_device(settings["device_target"])
    if "matmul_allow_tf32" in settings:
        set_matmul_allow_tf32(settings["matmul_allow_tf32"])
    _settings.update(settings)


@overload
def get_context(attr_key: Literal["mode"]) -> int: ...
@overload
def get_context(attr_key: Literal["device_target"]) -> str: ...
@overload
def get_context(attr_key: Literal["matmul_allow_tf32"]) -> bool: ...
@overload
def get_context(attr_key: str) -> Any: ...
def get_context(attr_key: str) -> Any:
    """Return a setting of the process.

    Parameters
    ----------
    attr_key : str
        ``"mode"``, ``"device_target"`` or ``"matmul_allow_tf32"``.

    Raises
    ------
    ValueError
        If there is no such setting.

    Examples
    --------
    >>> get_context("device_target")
    'CPU'
    """
    _check_key("get_context", attr_key)
    return _settings[attr_key]


def graph_mode() -> bool:
    """Return whether the mode is `GRAPH_MODE`."""
    return bool(_settings["mode"] == GRAPH_MODE)


def _check_key(function: str, key: str) -> None:
    if key not in _settings:
        raise ValueError(f"{function}: no setting {key!r}; there are {', '.join(map(repr, _settings))}")


def _check_mode(value: object) -> None:
    if type(value) is not int or value not in _MODES.values():
        modes = ", ".join(f"context.{name} ({number})" for name, number in _MODES.items())
        raise ValueError(f"set_context: mode is one of {modes}, got {value!r}")


def _set_device(name: str) -> None:
    try:
        if name == "Ascend":
            raise DeviceError("evolute has no Ascend backend")
        set_default_device(name)
    except DeviceError as error:
        raise DeviceError(
            f"set_context: device_target={name!r} is not available: {error}; "
            "use device_target='CPU', which runs the same programs"
        ) from None
