"""The base class of everything that has parameters."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from evolute import _compile, _evolute
from evolute._evolute import Tensor
from evolute.nn import _hooks
from evolute.nn._hooks import HookHandle, Hooks
from evolute.parameter import Parameter, ParameterTuple

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Cell"]

_MISSING: Any = object()


class Cell:
    """A function with parameters.

    Subclasses define `construct`, which runs when the cell is called. Parameters, tuples of parameters and other cells
    are registered when they become attributes. Parameters are named after the attributes that lead to them, such as
    ``fc1.weight``.

    Assigning a plain tensor to an attribute that holds a parameter sets the parameter's value.

    A class that defines ``bprop(self, *inputs, out, dout)`` has its own reverse rule: it returns a tuple with a
    gradient for each input (None for zero, and a tensor will do where there is one input). Parameters that `construct`
    uses get no gradients then. The rule holds in every mode and to every order, as that of `evolute.custom_vjp`.

    Parameters
    ----------
    auto_prefix : bool
        Whether parameters of sub-cells are renamed after their place in this cell.

    Examples
    --------
    >>> from evolute import Parameter, Tensor, nn
    >>> class Line(nn.Cell):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.slope = Parameter([2.0])
    ...
    ...     def construct(self, x):
    ...         return self.slope * x
    >>> line = Line()
    >>> print(line(Tensor([3.0])))
    [6.]
    >>> line.trainable_params()
    [Parameter (name=slope, shape=(1,), dtype=Float32, requires_grad=True)]
    """

    _params: dict[str, Parameter]
    _param_tuples: dict[str, ParameterTuple]
    _cells: dict[str, Cell]
    _auto_prefix: bool
    _training: bool
    _requires_grad: bool
    _graph: _compile.Compiled | None
    _hooks: Hooks | None
    #: Whether calls are compiled in both execution modes.
    _always_compiled = False
    _has_bprop = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._has_bprop = callable(getattr(cls, "bprop", None))

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Make the registries, so that attributes can be set before `Cell.__init__` has run."""
        self = super().__new__(cls)
        self.__dict__.update(
            _params={},
            _param_tuples={},
            _cells={},
            _auto_prefix=True,
            _training=False,
            _requires_grad=True,
            _graph=None,
            _hooks=None,
        )
        return self

    def __init__(self, auto_prefix: bool = True) -> None:
        self.__dict__["_auto_prefix"] = auto_prefix

    # ---- Calling

    def construct(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the cell's output; subclasses define it.

        Raises
        ------
        NotImplementedError
            If a subclass does not.
        """
        raise NotImplementedError(
            f"cell {type(self).__name__} has no method construct; define construct(self, ...) to say what it computes"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run `construct`; in graph mode, and if nothing is being recorded or differentiated, run its recording."""
        if not _compile.should_compile(self._always_compiled):
            return self._run(*args, **kwargs)
        return self._compiled()(*args, **kwargs)

    def _compiled(self) -> _compile.Compiled:
        graph = self._graph
        if graph is None:
            graph = self.__dict__["_graph"] = _compile.Compiled(_weakly(self))
        return graph

    def explain(self) -> str:
        """Say what the recordings of the cell's calls do, as `evolute.jit` does; empty if there are none."""
        return self._compiled().explain()

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        if _evolute.is_recording():
            # All of them: `construct` may read attributes of cells that it does not call.
            for _, cell in self.cells_and_names():
                _compile.note_cell(cell)
        try:
            if self._hooks is not None or self._has_bprop:
                return _hooks.run(self, self._hooks, args, kwargs)
            return self.construct(*args, **kwargs)
        except TypeError as error:
            trace = error.__traceback__
            message = None if trace is None or trace.tb_next is not None else self._argument_error(args, kwargs)
            if message is None:  # it came from within `construct`
                raise
            raise TypeError(message) from None

    def _argument_error(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
        import inspect

        try:
            signature = inspect.signature(self.construct)
        except ValueError:
            return None
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            return f"cell {type(self).__name__}: construct{signature}: {error}"
        return None

    # ---- Hooks

    def _register(self, kind: str, hook: Callable[..., Any], with_kwargs: bool = False, prepend: bool = False) -> Any:
        hooks = self._hooks or Hooks()
        handle = hooks.add(kind, hook, with_kwargs, prepend, lambda: _compile.invalidate(self))
        self.__dict__["_hooks"] = hooks
        return handle

    def register_forward_pre_hook(
        self, hook_fn: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call `hook_fn(cell, args)` before each `construct`; what it returns, unless None, takes the place of `args`.

        Parameters
        ----------
        hook_fn : callable
            With `with_kwargs`, `hook_fn(cell, args, kwargs)`, which returns None or (args, kwargs).
        prepend : bool
            Whether it comes before the hooks that there are.
        with_kwargs : bool
            Whether it gets the keyword arguments.

        Returns
        -------
        HookHandle
            Its method `remove` removes the hook.
        """
        return self._register("forward_pre", hook_fn, with_kwargs, prepend)  # type: ignore[no-any-return]

    def register_forward_hook(
        self, hook_fn: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> HookHandle:
        """Call `hook_fn(cell, args, output)` after each `construct`; what it returns, unless None, is the output.

        Parameters and results are those of `register_forward_pre_hook`; with `with_kwargs` the hook is called as
        `hook_fn(cell, args, kwargs, output)`.
        """
        return self._register("forward", hook_fn, with_kwargs, prepend)  # type: ignore[no-any-return]

    def register_backward_pre_hook(self, hook_fn: Callable[..., Any]) -> HookHandle:
        """Call `hook_fn(cell, grad_output)` when reverse mode reaches the output of the cell.

        `grad_output` is a tuple with the gradients of the outputs; what the hook returns, unless None, takes its place.
        In graph mode hooks run when the gradient is recorded.
        """
        return self._register("backward_pre", hook_fn)  # type: ignore[no-any-return]

    def register_backward_hook(self, hook_fn: Callable[..., Any]) -> HookHandle:
        """Call `hook_fn(cell, grad_input, grad_output)` when reverse mode has gone through the cell.

        `grad_input` is a tuple with the gradients of those positional arguments that are tensors, empty if no
        derivative is taken by any; what the hook returns, unless None, takes its place. In graph mode hooks run when
        the gradient is recorded.
        """
        return self._register("backward", hook_fn)  # type: ignore[no-any-return]

    # ---- Attributes

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Parameter):
            self._check_parameter_name(name, value)
            self._forget(name)
            self._params[name] = value
            if not value.has_name:
                value.name = name
        elif isinstance(value, Tensor) and name in self._params:
            self._params[name].set_data(value)
            return
        elif isinstance(value, Cell):
            self._forget(name)
            self._cells[name] = value
            if self._auto_prefix:
                self._name_parameters_of([value])
        elif isinstance(value, (tuple, list)) and value and isinstance(value[0], (Parameter, Cell)):
            value = self._checked_members(name, value)
            self._forget(name)
            self._param_tuples[name] = value
            for i, parameter in enumerate(value):
                if not parameter.has_name:
                    parameter.name = f"{name}.{i}"
        elif value is not None and (name in self._params or name in self._cells):
            kind = "parameter" if name in self._params else "cell"
            raise TypeError(
                f"cell {type(self).__name__}: attribute {name!r} holds a {kind}; it cannot become a "
                f"{type(value).__name__} (assign None or delete it first)"
            )
        else:
            self._forget(name)
        # A property's setter sets attributes of its own.
        unchanged = isinstance(getattr(type(self), name, None), property) or _same(
            self.__dict__.get(name, _MISSING), value
        )
        object.__setattr__(self, name, value)
        if not unchanged:
            _compile.invalidate(self)

    def __delattr__(self, name: str) -> None:
        object.__delattr__(self, name)
        self._forget(name)
        _compile.invalidate(self)

    def _forget(self, name: str) -> None:
        self._params.pop(name, None)
        self._param_tuples.pop(name, None)
        self._cells.pop(name, None)

    def _name_parameters_of(self, cells: list[Cell]) -> None:
        """Name the parameters of these sub-cells after their first place in this cell."""
        theirs = {id(parameter) for cell in cells for parameter in cell.get_parameters()}
        for path, parameter, owner in self._owners("", True):
            if id(parameter) in theirs and owner is not self:
                parameter.name = path

    def _check_parameter_name(self, name: str, parameter: Parameter) -> None:
        new = parameter.name if parameter.has_name else name
        for other_name, other in self._params.items():
            if other_name != name and other is not parameter and other.name == new:
                raise ValueError(
                    f"cell {type(self).__name__}: parameters {other_name!r} and {name!r} are both named {new!r}; "
                    "give each a name of its own"
                )

    def _checked_members(self, name: str, members: tuple[Any, ...] | list[Any]) -> ParameterTuple:
        if isinstance(members[0], Cell):
            raise TypeError(
                f"cell {type(self).__name__}: attribute {name!r} is a {type(members).__name__} of cells, whose "
                "parameters would not be found; use nn.CellList"
            )
        return members if isinstance(members, ParameterTuple) else ParameterTuple(members)

    def insert_param_to_cell(self, param_name: str, param: Parameter) -> None:
        """Register a parameter as attribute `param_name`.

        Raises
        ------
        TypeError
            If `param` is not a Parameter.
        """
        if not isinstance(param, Parameter):
            raise TypeError(f"insert_param_to_cell: needs a Parameter, got a {type(param).__name__}")
        setattr(self, param_name, param)

    def insert_child_to_cell(self, child_name: str, child_cell: Cell) -> None:
        """Register a cell as attribute `child_name`.

        Raises
        ------
        TypeError
            If `child_cell` is not a Cell.
        """
        if not isinstance(child_cell, Cell):
            raise TypeError(f"insert_child_to_cell: needs a Cell, got a {type(child_cell).__name__}")
        setattr(self, child_name, child_cell)

    def __getstate__(self) -> dict[str, Any]:
        # Recordings belong to this object: a copy or an unpickled cell makes its own.
        registries = {name: dict(self.__dict__[name]) for name in ("_params", "_param_tuples", "_cells")}
        return {**self.__dict__, **registries, "_graph": None}

    # ---- Parameters

    def _owners(self, prefix: str, expand: bool) -> Iterator[tuple[str, Parameter, Cell]]:
        cells = list(self.cells_and_names(prefix)) if expand else [(prefix, self)]
        seen: set[int] = set()
        for path, cell in cells:
            for name, parameter in cell._params.items():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield _joined(path, name), parameter, cell
        # Last, as tuples mostly gather parameters that have a name elsewhere.
        for path, cell in cells:
            for name, members in cell._param_tuples.items():
                for i, parameter in enumerate(members):
                    if id(parameter) not in seen:
                        seen.add(id(parameter))
                        yield _joined(path, f"{name}.{i}"), parameter, cell

    def parameters_and_names(self, name_prefix: str = "", expand: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Yield (path, parameter) for each parameter once.

        The path consists of the attributes that lead from this cell to the parameter. It is unique.

        Parameters
        ----------
        name_prefix : str
            Goes before each path, with a dot.
        expand : bool
            Whether to go into sub-cells.
        """
        for path, parameter, _ in self._owners(name_prefix, expand):
            yield path, parameter

    def get_parameters(self, expand: bool = True) -> Iterator[Parameter]:
        """Yield each parameter once; those of sub-cells too if `expand`."""
        for _, parameter, _ in self._owners("", expand):
            yield parameter

    def trainable_params(self, recurse: bool = True) -> list[Parameter]:
        """Return the parameters with `requires_grad`, but for those of cells that `set_grad` has switched off.

        A parameter that several cells share is listed once.
        """
        return [p for p, trainable in self._trainable(recurse) if trainable]

    def untrainable_params(self, recurse: bool = True) -> list[Parameter]:
        """Return the parameters that `trainable_params` leaves out."""
        return [p for p, trainable in self._trainable(recurse) if not trainable]

    def _trainable(self, recurse: bool) -> Iterator[tuple[Parameter, bool]]:
        for _, parameter, cell in self._owners("", recurse):
            yield parameter, parameter.requires_grad and cell._requires_grad

    def parameters_dict(self, recurse: bool = True) -> dict[str, Parameter]:
        """Return the parameters by name.

        Raises
        ------
        ValueError
            If two parameters have the same name.
        """
        result: dict[str, Parameter] = {}
        for path, parameter, _ in self._owners("", recurse):
            if parameter.name in result:
                raise ValueError(
                    f"cell {type(self).__name__}: two parameters are named {parameter.name!r}, one of them at {path}; "
                    "give each a name of its own"
                )
            result[parameter.name] = parameter
        return result

    def check_names(self) -> None:
        """Raise ValueError if two parameters have the same name."""
        self.parameters_dict()

    def update_parameters_name(self, prefix: str = "", recurse: bool = True) -> None:
        """Name each parameter after its path, with `prefix` before it."""
        for path, parameter, _ in self._owners("", recurse):
            parameter.name = prefix + path

    # ---- Sub-cells

    def cells(self) -> list[Cell]:
        """Return the cells that are attributes of this one."""
        return list(self.name_cells().values())

    def name_cells(self) -> dict[str, Cell]:
        """Return the cells that are attributes of this one by attribute name, each once."""
        unique = {id(cell): name for name, cell in reversed(self._cells.items())}
        return {name: cell for name, cell in self._cells.items() if unique[id(cell)] == name}

    def cells_and_names(self, name_prefix: str = "") -> Iterator[tuple[str, Cell]]:
        """Yield (path, cell) for this cell and all below it, each once, owners first."""
        seen: set[int] = set()
        pending: list[tuple[str, Cell]] = [(name_prefix, self)]
        while pending:
            path, cell = pending.pop()
            if id(cell) not in seen:
                seen.add(id(cell))
                yield path, cell
                pending.extend((_joined(path, name), child) for name, child in reversed(cell._cells.items()))

    # ---- Switches

    @property
    def training(self) -> bool:
        """Whether the cell is in training mode; False at first."""
        return self._training

    @training.setter
    def training(self, mode: bool) -> None:
        if mode != self._training:
            self.__dict__["_training"] = bool(mode)
            _compile.invalidate(self)

    def set_train(self, mode: bool = True) -> Self:
        """Switch training mode for this cell and all below it, and return this cell."""
        for _, cell in self.cells_and_names():
            cell.training = mode
        return self

    @property
    def requires_grad(self) -> bool:
        """Whether the cell's own parameters count as trainable; True at first."""
        return self._requires_grad

    def set_grad(self, requires_grad: bool = True) -> Self:
        """Switch whether parameters of this cell and all below it count as trainable, and return this cell.

        The `requires_grad` of single parameters stays as it is, so that what is frozen by it stays frozen.
        """
        for _, cell in self.cells_and_names():
            if requires_grad != cell._requires_grad:
                cell.__dict__["_requires_grad"] = bool(requires_grad)
                _compile.invalidate(cell)
        return self

    # ---- Printing

    def extend_repr(self) -> str:
        """Return what `repr` says of the cell beside its sub-cells; subclasses define it."""
        return ""

    def __repr__(self) -> str:
        about = self.extend_repr()
        if not self._cells:
            return f"{type(self).__name__}<{about}>"
        lines = [about] if about else []
        lines += [f"({name}): {cell!r}" for name, cell in self._cells.items()]
        inner = "\n".join(lines).replace("\n", "\n  ")
        return f"{type(self).__name__}<\n  {inner}\n  >"


def _same(old: Any, new: Any) -> bool:
    """Whether what was recorded with the value `old` of an attribute holds for `new`."""
    return old is new or (type(old) is type(new) and isinstance(new, (int, float, str)) and bool(old == new))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _weakly(cell: Cell) -> Callable[..., Any]:
    """Return a function that runs the cell and does not keep it alive: the cell keeps its recordings."""
    reference = weakref.ref(cell)

    def run(*args: Any, **kwargs: Any) -> Any:
        target = reference()
        assert target is not None  # a recording is called through its cell alone
        return target._run(*args, **kwargs)

    run.__qualname__ = f"cell {type(cell).__name__}"
    return run
