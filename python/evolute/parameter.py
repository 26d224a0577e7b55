"""Parameters: tensors with identity, whose value changes while programs that read them stay the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from evolute import _compile
from evolute._evolute import Tensor
from evolute.common.initializer import Initializer, initializer

if TYPE_CHECKING:
    from typing_extensions import Self

    from evolute._evolute import TensorLike

__all__ = ["Parameter", "ParameterTuple"]

_UNNAMED = "Parameter"


class _Switch:
    """Stands for a parameter's `requires_grad` where recordings keep what they depend on.

    The parameter itself cannot: comparing it compares its elements.
    """


class Parameter(Tensor):
    """A named slot for a tensor: what a model learns, or other state that it keeps.

    A parameter is used like the tensor it holds. Every read gives the value it has at that time, also in a compiled
    function. Its shape and dtype do not change.

    Parameters
    ----------
    default_input : TensorLike
        The first value: tensor, array, list or number.
    name : str, optional
        Name of the parameter. A parameter without one is named after the attribute of the cell that it is assigned to.
    requires_grad : bool
        Whether `evolute.nn.Cell.trainable_params` lists it.

    Raises
    ------
    TypeError
        If `name` is not a string or `requires_grad` not a bool.
    ValueError
        If `name` is empty.

    Examples
    --------
    >>> z = Parameter([1.0], name="z")
    >>> z
    Parameter (name=z, shape=(1,), dtype=Float32, requires_grad=True)
    >>> z.set_data([3.0]) * 2
    Tensor(shape=[1], dtype=Float32, value= [ 6.00000000e+00])
    """

    def __new__(cls, default_input: TensorLike, name: str | None = None, requires_grad: bool = True) -> Self:
        """Hold `default_input`; the remaining arguments are those of the class."""
        return super().__new__(cls, default_input)  # type: ignore[call-arg]

    def __init__(self, default_input: TensorLike, name: str | None = None, requires_grad: bool = True) -> None:
        self._name = None if name is None else _checked_name(name)
        self._switch = _Switch()
        self.requires_grad = requires_grad
        self._bind_variable(self.name)

    @property
    def name(self) -> str:
        """Name of the parameter, ``"Parameter"`` while it has none.

        Cells rename what they own: a parameter is named by its path from the outermost cell, such as ``fc1.weight``.
        """
        return _UNNAMED if self._name is None else self._name

    @name.setter
    def name(self, name: str) -> None:
        self._name = _checked_name(name)
        self._rename_variable(name)

    @property
    def has_name(self) -> bool:
        """Whether the parameter was given a name, by its maker or by a cell."""
        return self._name is not None

    @property
    def requires_grad(self) -> bool:
        """Whether the parameter is to be trained."""
        _compile.note_cell(self._switch)
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, requires_grad: bool) -> None:
        if not isinstance(requires_grad, bool):
            raise TypeError(f"Parameter: requires_grad is a bool, got {requires_grad!r}")
        self._requires_grad = requires_grad
        _compile.invalidate(self._switch)

    def value(self) -> Tensor:
        """Return the present value: a tensor that later `set_data` calls do not touch."""
        return Tensor(self)

    @property
    def data(self) -> Tensor:
        """The present value, as `value` returns it."""
        return self.value()

    def set_data(self, data: TensorLike) -> Self:
        """Replace the value.

        Parameters
        ----------
        data : TensorLike
            The new value. Tensors and arrays must have the parameter's dtype; lists and numbers take it on.

        Returns
        -------
        Parameter
            This parameter.

        Raises
        ------
        ShapeError, DTypeError
            If shape or dtype differ from the parameter's, which then keeps its value.

        Examples
        --------
        >>> Parameter([1.0, 2.0]).set_data([1.0])
        Traceback (most recent call last):
            ...
        evolute.ShapeError: ...
        """
        if not isinstance(data, Tensor):
            # What has a dtype keeps it, so that a wrong one is an error and not a silent conversion.
            data = Tensor(data) if hasattr(data, "dtype") else Tensor(data, self.dtype)
        self._set_variable(data)
        return self

    def assign_value(self, value: TensorLike) -> Self:
        """Replace the value; the same as `set_data`."""
        return self.set_data(value)

    def clone(self, prefix: str = "", init: str | float | Initializer | Tensor = "same") -> Parameter:
        """Return a new parameter of the same shape, dtype and `requires_grad`.

        Parameters
        ----------
        prefix : str
            Goes before the name, with a dot; empty keeps the name.
        init : str or number or Initializer or Tensor
            ``"same"`` copies the value; anything else is what `evolute.common.initializer.initializer` takes.

        Raises
        ------
        ValueError, ShapeError
            If `init` is unknown or does not fit.

        Examples
        --------
        >>> Parameter([1.0], name="w").clone("copy", init="zeros")
        Parameter (name=copy.w, shape=(1,), dtype=Float32, requires_grad=True)
        """
        value = self.value() if isinstance(init, str) and init == "same" else initializer(init, self.shape, self.dtype)
        name = f"{prefix}.{self.name}" if prefix else self._name
        return Parameter(value, name, self.requires_grad)

    def __repr__(self) -> str:
        return (
            f"Parameter (name={self.name}, shape={self.shape}, dtype={self.dtype}, requires_grad={self.requires_grad})"
        )

    __str__ = __repr__

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.asnumpy(), self._name, self.requires_grad)


def _rebuild(cls: type[Parameter], value: Any, name: str | None, requires_grad: bool) -> Parameter:
    return cls(value, name, requires_grad)


def _checked_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"Parameter: name is a string, got {name!r}")
    if not name:
        raise ValueError("Parameter: name is empty")
    return name


class ParameterTuple(tuple[Parameter, ...]):
    """A tuple of parameters with different names.

    Parameters
    ----------
    parameters : iterable of Parameter
        The members. One parameter may stand in it more than once; two unnamed ones may both stay so.

    Raises
    ------
    TypeError
        If something else is among them.
    ValueError
        If two members have the same name.

    Examples
    --------
    >>> ParameterTuple([Parameter([1.0], "a"), Parameter([2.0], "a")])
    Traceback (most recent call last):
        ...
    ValueError: ParameterTuple: two parameters are named 'a'; give each a name of its own
    """

    __slots__ = ()

    def __new__(cls, parameters: Iterable[Parameter] = ()) -> Self:
        """Check the members."""
        if isinstance(parameters, Tensor):
            raise TypeError(f"ParameterTuple: needs an iterable of parameters, got a {type(parameters).__name__}")
        members = tuple(parameters)
        seen: dict[str, Parameter] = {}
        for i, member in enumerate(members):
            if not isinstance(member, Parameter):
                raise TypeError(f"ParameterTuple: member {i} is a {type(member).__name__}, not a Parameter")
            if member.has_name and seen.setdefault(member.name, member) is not member:
                raise ValueError(
                    f"ParameterTuple: two parameters are named {member.name!r}; give each a name of its own"
                )
        return super().__new__(cls, members)

    def clone(self, prefix: str, init: str | float | Initializer | Tensor = "same") -> ParameterTuple:
        """Return clones of the members, as `Parameter.clone` makes them.

        Parameters
        ----------
        prefix : str
            Goes before each name, with a dot.
        init : str or number or Initializer or Tensor
            ``"same"`` copies the values; anything else is what `evolute.common.initializer.initializer` takes.

        Examples
        --------
        >>> ParameterTuple([Parameter([1.0], "a")]).clone("moment", init="zeros")
        (Parameter (name=moment.a, shape=(1,), dtype=Float32, requires_grad=True),)
        """
        return ParameterTuple(member.clone(prefix, init) for member in self)
