"""Parameters to and from safetensors files, which hold arrays by name and run no code when they are read.

A cell's parameters are stored under their paths, such as ``fc1.weight``: a file fits every cell of the same structure,
whatever larger cell either has become part of.

The ``safetensors`` library is needed: ``pip install evolute[io]``.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from evolute._evolute import DTypeError, ShapeError, Tensor
from evolute.parameter import Parameter

if TYPE_CHECKING:
    from evolute.nn import Cell

    Path: TypeAlias = str | os.PathLike[str]
    Saved: TypeAlias = Cell | Mapping[str, Tensor] | Iterable[Parameter]

__all__ = ["load_checkpoint", "load_param_into_net", "save_checkpoint"]


def _library() -> Any:
    try:
        import safetensors
    except ImportError as error:
        raise ImportError(
            "checkpoints need the safetensors library, which is not installed: pip install evolute[io]"
        ) from error
    return safetensors


def save_checkpoint(save_obj: Saved, ckpt_file_name: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Write parameters to a safetensors file.

    Parameters
    ----------
    save_obj : Cell, mapping of names to tensors, or iterable of Parameter
        What to save. A cell's parameters are stored under their paths, listed parameters under their names.
    ckpt_file_name : path
        The file; one that exists is replaced once the new one is complete.
    metadata : mapping of str to str, optional
        Stored with the tensors.

    Raises
    ------
    ImportError
        If the safetensors library is missing.
    TypeError
        If there is something else than tensors in `save_obj`.
    ValueError
        If two parameters have the same name.
    OSError
        If the file cannot be written.
    """
    import numpy as np

    _library()
    from safetensors.numpy import save

    tensors = _named(save_obj)
    # The library writes memory as it lies, so that views must be made contiguous first.
    arrays = {name: np.asarray(tensor.asnumpy(), order="C") for name, tensor in tensors.items()}
    content = save(arrays, None if metadata is None else dict(metadata))
    target = os.fspath(ckpt_file_name)
    partial = f"{target}.{os.getpid()}.partial"
    try:
        with open(partial, "wb") as file:
            file.write(content)
        os.replace(partial, target)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _named(save_obj: Any) -> dict[str, Tensor]:
    from evolute.nn import Cell

    if isinstance(save_obj, Cell):
        return dict(save_obj.parameters_and_names())
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(save_obj, Mapping):
        pairs = save_obj.items()
    elif isinstance(save_obj, Iterable) and not isinstance(save_obj, (str, Tensor)):
        pairs = ((getattr(member, "name", None), member) for member in save_obj)
    else:
        raise TypeError(f"save_checkpoint: cannot save a {type(save_obj).__name__}; give a cell, a dict or parameters")
    tensors: dict[str, Tensor] = {}
    for name, tensor in pairs:
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise TypeError(f"save_checkpoint: {name!r} is a {type(tensor).__name__}, not a named tensor")
        if name in tensors:
            raise ValueError(f"save_checkpoint: two parameters are named {name!r}; give each a name of its own")
        tensors[name] = tensor
    return tensors


def load_checkpoint(ckpt_file_name: Path, net: Cell | None = None, strict_load: bool = False) -> dict[str, Parameter]:
    """Read parameters from a safetensors file.

    Parameters
    ----------
    ckpt_file_name : path
        The file.
    net : Cell, optional
        Cell whose parameters take on the values, as `load_param_into_net` does it.
    strict_load : bool
        Whether it is an error if the file and `net` do not have the same parameters.

    Returns
    -------
    dict of str to Parameter
        The parameters by name.

    Raises
    ------
    ImportError
        If the safetensors library is missing.
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a safetensors file.
    DTypeError
        If it has tensors of an element type that does not exist here, such as bfloat16.

    Examples
    --------
    >>> import tempfile
    >>> from evolute import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint(nn.Dense(2, 1, weight_init="ones"), f"{folder}/dense.safetensors")
    ...     parameters = load_checkpoint(f"{folder}/dense.safetensors")
    >>> parameters["weight"]
    Parameter (name=weight, shape=(1, 2), dtype=Float32, requires_grad=True)
    """
    library = _library()
    path = os.fspath(ckpt_file_name)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"load_checkpoint: there is no file {path!r}")
    try:
        with library.safe_open(path, framework="numpy") as file:
            parameters = {name: Parameter(_tensor(file, name, path), name) for name in file.keys()}  # noqa: SIM118
    except library.SafetensorError as error:
        raise ValueError(f"load_checkpoint: {path!r} is not a safetensors file: {error}") from error
    if net is not None:
        load_param_into_net(net, parameters, strict_load)
    return parameters


def _tensor(file: Any, name: str, path: str) -> Tensor:
    stored = file.get_slice(name).get_dtype()
    if stored not in ("BOOL", "I32", "I64", "F32", "F64"):
        raise DTypeError(
            f"load_checkpoint: {name!r} in {path!r} has element type {stored}; "
            "only bool, int32, int64, float32 and float64 can be read"
        )
    return Tensor(file.get_tensor(name))


def load_param_into_net(
    net: Cell, parameter_dict: Mapping[str, Any], strict_load: bool = False
) -> tuple[list[str], list[str]]:
    """Set the parameters of a cell.

    Parameters
    ----------
    net : Cell
        The cell.
    parameter_dict : mapping of str to Tensor or array
        Values by the parameter's path in `net`.
    strict_load : bool
        Whether it is an error if `parameter_dict` and `net` do not have the same parameters.

    Returns
    -------
    tuple of two lists of str
        Paths of parameters without a value, and names of values without a parameter.

    Raises
    ------
    TypeError
        If `net` is not a cell or `parameter_dict` not a mapping.
    KeyError
        If `strict_load` and the names differ.
    ShapeError, DTypeError
        If a value does not fit its parameter.

    Notes
    -----
    When it raises, no parameter has changed.

    Examples
    --------
    >>> from evolute import nn
    >>> load_param_into_net(nn.Dense(2, 1), {"bias": Tensor([0.5])})
    (['weight'], [])
    """
    from evolute.nn import Cell

    if not isinstance(net, Cell):
        raise TypeError(f"load_param_into_net: net is a Cell, got a {type(net).__name__}")
    if not isinstance(parameter_dict, Mapping):
        raise TypeError(f"load_param_into_net: needs a mapping of names, got a {type(parameter_dict).__name__}")
    parameters = dict(net.parameters_and_names())
    missing = [path for path in parameters if path not in parameter_dict]
    unused = [name for name in parameter_dict if name not in parameters]
    if strict_load and (missing or unused):
        raise KeyError(f"load_param_into_net: no value for {missing or 'none'}, no parameter for {unused or 'none'}")
    values = {path: _fitting(path, parameter_dict[path], p) for path, p in parameters.items() if path in parameter_dict}
    for path, value in values.items():
        parameters[path].set_data(value)
    return missing, unused


def _fitting(path: str, value: Any, parameter: Parameter) -> Tensor:
    tensor = value.value() if isinstance(value, Parameter) else Tensor(value)
    if tensor.shape != parameter.shape:
        raise ShapeError(f"load_param_into_net: {path!r} has shape {parameter.shape}, but the value {tensor.shape}")
    if tensor.dtype != parameter.dtype:
        raise DTypeError(f"load_param_into_net: {path!r} has dtype {parameter.dtype}, but the value {tensor.dtype}")
    return tensor
