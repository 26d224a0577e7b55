"""Base class of operations that are objects."""

from __future__ import annotations

__all__ = ["Primitive"]


class Primitive:
    """An operation as an object: made once with its attributes, then called with tensors.

    Examples
    --------
    >>> from evolute import ops
    >>> ops.MatMul(transpose_b=True)
    MatMul(transpose_a=False, transpose_b=True)
    """

    @property
    def name(self) -> str:
        """Name of the operation: that of its class."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"{self.name}({', '.join(f'{key}={value!r}' for key, value in vars(self).items())})"
