"""Sparse Jacobians and Hessians: patterns from the recorded function, and few directions for all elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evolute import _compile, _evolute, ops
from evolute._evolute import DTypeError, ShapeError, Tensor
from evolute.jacobians import _scalar
from evolute.transforms import _callable, grad, jvp, vjp, vmap

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As many directions go at once as keep these and the derivatives along them within this many bytes.
_DIRECTION_BYTES = 64 << 20


def _scipy(what: str) -> Any:
    try:
        import scipy.sparse
    except ImportError as error:
        raise ImportError(f"{what}: needs SciPy for sparse matrices; install it with `pip install scipy`") from error
    return scipy.sparse


def _argument(args: tuple[Any, ...], position: int, what: str) -> Tensor:
    if not 0 <= position < len(args):
        raise ValueError(f"{what}: grad_position {position} is out of range for {len(args)} positional arguments")
    x = args[position]
    if not isinstance(x, Tensor):
        raise TypeError(f"{what}: argument {position} must be a tensor, got {type(x).__name__}")
    if not x.dtype.is_floating:
        raise DTypeError(f"{what}: argument {position} has dtype {x.dtype}; convert it to float32 or float64 first")
    return x


def _of_vector(fn: Callable[..., Any], args: tuple[Any, ...], position: int, what: str) -> Callable[[Tensor], Tensor]:
    """Return `fn` as a function of the elements of one argument, with a vector as value."""
    shape = args[position].shape

    def flat(x: Tensor) -> Tensor:
        out = fn(*args[:position], ops.reshape(x, shape), *args[position + 1 :])
        if not isinstance(out, Tensor) or not out.dtype.is_floating:
            kind = f"a tensor of dtype {out.dtype}" if isinstance(out, Tensor) else f"a {type(out).__name__}"
            raise DTypeError(f"{what}: the function must return one tensor of floating dtype, got {kind}")
        return ops.reshape(out, (-1,))

    return flat


class _Pattern:
    """A sparsity pattern, and the directions that find all of its elements.

    Parameters
    ----------
    start, columns : NDArray
        Where each row begins, and its columns.
    shape : tuple
        Of the matrix.
    symmetric : bool
        Whether it is enough that an element or its transpose can be told from others.
    """

    def __init__(self, start: NDArray[Any], columns: NDArray[Any], shape: tuple[int, int], symmetric: bool) -> None:
        self.start, self.columns, self.shape = start, columns, shape
        colors, places = _evolute.color(start, columns, shape[1], symmetric)
        self.by_rows = False
        if not symmetric:
            # The transpose in the same way, by reverse mode, where that takes fewer directions.
            back = _scipy("sparse_jacobian").csr_array((columns * 0, columns, start), shape).T.tocsr()
            back.sort_indices()
            row_colors, row_places = _evolute.color(back.indptr, back.indices, shape[0], False)
            if row_colors.max(initial=-1) < colors.max(initial=-1):
                self.by_rows = True
                colors, places = row_colors, self._in_order(back, row_places)
        self.colors: NDArray[Any] = colors
        self.places = places
        self.n_colors = int(colors.max(initial=-1)) + 1

    def _in_order(self, back: Any, places: NDArray[Any]) -> NDArray[Any]:
        """Take what belongs to the elements of the transpose, row by row, to those of the matrix."""
        back.data = places
        forth = back.T.tocsr()
        forth.sort_indices()
        return forth.data  # type: ignore[no-any-return]

    def seeds(self, first: int, last: int, dtype: Any) -> Tensor:
        """Return the sums of the unit vectors of each colour from `first` to `last`."""
        colors = ops.reshape(Tensor(self.colors), (1, -1))
        wanted = ops.reshape(ops.arange(first, last, dtype=colors.dtype), (-1, 1))
        return ops.cast(colors == wanted, dtype)


class SparseDerivative:
    """A Jacobian or Hessian as a function that returns SciPy CSR arrays.

    Made by `sparse_jacobian` and `sparse_hessian`. Pattern and colours are found at the first call with arguments of
    each shape and kept, and the products are compiled.
    """

    def __init__(self, fn: Callable[..., Any], position: int, sparsity: Any, symmetric: bool, what: str) -> None:
        self._fn, self._position, self._what, self._symmetric = fn, position, what, symmetric
        self._given = sparsity
        self._patterns: dict[Any, _Pattern] = {}
        self._compiled = _compile.jit(self._values)

    def _pattern(self, args: tuple[Any, ...]) -> _Pattern:
        x = _argument(args, self._position, self._what)
        key = tuple((a.shape, a.dtype) if isinstance(a, Tensor) else repr(a) for a in args)
        found = self._patterns.get(key)
        if found is None:
            flat = _of_vector(self._fn, args, self._position, self._what)
            if self._given is None:
                vector = ops.reshape(x, (-1,))
                start, columns = _evolute.jacobian_sparsity(flat, vector)
                found = _Pattern(start, columns, (len(start) - 1, x.size), self._symmetric)
            else:
                found = self._from_given(x)
            self._patterns[key] = found
        return found

    def _from_given(self, x: Tensor) -> _Pattern:
        given = _scipy(self._what).csr_array(self._given).copy()
        given.sum_duplicates()
        given.sort_indices()
        if given.shape[1] != x.size or (self._symmetric and given.shape[0] != x.size):
            raise ShapeError(
                f"{self._what}: the sparsity has shape {given.shape}, but argument {self._position} has {x.size} "
                "elements"
            )
        if self._symmetric and (abs(given.astype(bool).astype(int) - given.T.astype(bool).astype(int))).nnz:
            raise ValueError(f"{self._what}: the sparsity must be symmetric, as Hessians are")
        return _Pattern(given.indptr, given.indices, given.shape, self._symmetric)

    def sparsity(self, *args: Any) -> Any:
        """Return the pattern for arguments like these, a CSR array of booleans."""
        import numpy as np

        p = self._pattern(args)
        return _scipy(self._what).csr_array((np.ones(len(p.columns), bool), p.columns, p.start), p.shape, copy=True)

    def directions(self, *args: Any) -> int:
        """Return how many directional derivatives a call takes."""
        return self._pattern(args).n_colors

    def values(self, *args: Any) -> Tensor:
        """Return the elements of the pattern, row by row, as one tensor: for use under other transforms."""
        self._pattern(args)
        return self._compiled(*args)

    def _values(self, *args: Any) -> Tensor:
        p = self._pattern(args)
        flat = _of_vector(self._fn, args, self._position, self._what)
        x = ops.reshape(args[self._position], (-1,))
        if not p.n_colors:
            return ops.zeros((0,), x.dtype)

        def along(direction: Tensor) -> Tensor:
            return vjp(flat, x, direction)[1] if p.by_rows else jvp(flat, x, direction)[1]  # type: ignore[no-any-return]

        at_once = max(1, _DIRECTION_BYTES // (sum(p.shape) * x.dtype.itemsize))
        parts = [
            vmap(along)(p.seeds(first, min(first + at_once, p.n_colors), x.dtype))
            for first in range(0, p.n_colors, at_once)
        ]
        products = parts[0] if len(parts) == 1 else ops.concat(parts)
        return ops.take(ops.reshape(products, (-1,)), Tensor(p.places))

    def __call__(self, *args: Any) -> Any:
        """Return the derivative at these arguments: a CSR array with all elements of the pattern, also if zero."""
        sparse = _scipy(self._what)
        values = self.values(*args)
        p = self._pattern(args)
        return sparse.csr_array((values.asnumpy(), p.columns, p.start), p.shape, copy=True)  # the caller may change it


def jacobian_sparsity(fn: Callable[..., Any], *args: Any, grad_position: int = 0) -> Any:
    """Which elements of the Jacobian of a function can be other than zero.

    The function is recorded, and what each element depends on is followed through its operations. So the pattern holds
    for all values of the arguments, and may have elements that happen to be zero. Elementwise operations, movements of
    data, reductions, products of matrices, branches, loops and functions with rules of their own are followed element
    by element; results of factorisations count as dependent on all that goes in, and so do those of a `while_loop` that
    reverse mode runs back.

    Parameters
    ----------
    fn : callable
        Function or cell that returns one tensor.
    *args : Any
        Arguments of the shapes and dtypes in question.
    grad_position : int
        The argument to differentiate with respect to, a tensor.

    Returns
    -------
    scipy.sparse.csr_array
        Booleans, with a row per element of the output and a column per element of the argument.

    Raises
    ------
    ImportError
        If SciPy is not installed.
    TypeError, DTypeError, ValueError
        If the argument or the output is not one floating tensor, or the position is out of range.

    Examples
    --------
    >>> import evolute as ev
    >>> pattern = ev.jacobian_sparsity(lambda x: x[1:] * x[:-1], ev.ops.zeros((4,)))
    >>> print(pattern.toarray().astype(int))
    [[1 1 0 0]
     [0 1 1 0]
     [0 0 1 1]]
    """
    return SparseDerivative(
        _callable(fn, "jacobian_sparsity"), grad_position, None, False, "jacobian_sparsity"
    ).sparsity(*args)


def hessian_sparsity(fn: Callable[..., Any], *args: Any, grad_position: int = 0) -> Any:
    """Which elements of the Hessian of a scalar function can be other than zero.

    It is the pattern of the Jacobian of the gradient.

    Parameters, results and errors are those of `jacobian_sparsity`.

    Examples
    --------
    >>> import evolute as ev
    >>> pattern = ev.hessian_sparsity(lambda x: ev.ops.sum(x[0] * x[1:] ** 2), ev.ops.zeros((4,)))
    >>> print(pattern.toarray().astype(int))
    [[0 1 1 1]
     [1 1 0 0]
     [1 0 1 0]
     [1 0 0 1]]
    """
    gradient = grad(_scalar(_callable(fn, "hessian_sparsity"), "hessian_sparsity"), grad_position)
    return SparseDerivative(gradient, grad_position, None, True, "hessian_sparsity").sparsity(*args)


def sparse_jacobian(fn: Callable[..., Any], grad_position: int = 0, sparsity: Any = None) -> SparseDerivative:
    """Jacobian of a function as a sparse matrix, from a few directional derivatives.

    Columns that share no row are found together, along the sum of their unit vectors: the number of directions depends
    on the pattern, not on the size. Where rows that share no column are fewer sets than that, reverse mode finds these.

    Parameters
    ----------
    fn : callable
        Function or cell that returns one tensor.
    grad_position : int
        The argument to differentiate with respect to, a tensor.
    sparsity : sparse matrix or array, optional
        Pattern that contains that of the Jacobian; by default `jacobian_sparsity`.

    Returns
    -------
    SparseDerivative
        A function of the same arguments. It returns a `scipy.sparse.csr_array` with a row per element of the output and
        a column per element of the argument. Its method `values` returns the elements as a tensor, under any transform.

    Raises
    ------
    ImportError
        By the function: if SciPy is not installed.
    TypeError, DTypeError, ShapeError, ValueError
        By the function: if the argument or the output is not one floating tensor, or the sparsity does not fit.

    Examples
    --------
    >>> import evolute as ev
    >>> j = ev.sparse_jacobian(lambda x: x[1:] * x[:-1])
    >>> x = ev.Tensor([1.0, 2.0, 3.0, 4.0])
    >>> print(j(x).toarray())
    [[2. 1. 0. 0.]
     [0. 3. 2. 0.]
     [0. 0. 4. 3.]]
    >>> j.directions(x)
    2
    """
    return SparseDerivative(_callable(fn, "sparse_jacobian"), grad_position, sparsity, False, "sparse_jacobian")


def sparse_hessian(fn: Callable[..., Any], grad_position: int = 0, sparsity: Any = None) -> SparseDerivative:
    """Hessian of a scalar function as a sparse matrix, from a few products with vectors.

    Symmetry is made use of: an element may be found in the place of its transpose, so that an arrow (a variable that
    all others are coupled to) takes two products.

    Parameters, results and errors are those of `sparse_jacobian`; `fn` returns one number.

    Examples
    --------
    >>> import evolute as ev
    >>> h = ev.sparse_hessian(lambda x: ev.ops.sum(x[1:] ** 2 * x[:-1]))
    >>> print(h(ev.Tensor([1.0, 2.0, 3.0])).toarray())
    [[0. 4. 0.]
     [4. 2. 6.]
     [0. 6. 4.]]
    """
    gradient = grad(_scalar(_callable(fn, "sparse_hessian"), "sparse_hessian"), grad_position)
    return SparseDerivative(gradient, grad_position, sparsity, True, "sparse_hessian")


__all__ = ["SparseDerivative", "hessian_sparsity", "jacobian_sparsity", "sparse_hessian", "sparse_jacobian"]
