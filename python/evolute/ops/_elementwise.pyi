# Written by .ci/make_stubs.py; do not edit.
from evolute._evolute import Tensor, TensorLike
from evolute.ops._primitive import Primitive

__all__ = [
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "Asin",
    "Asinh",
    "Atan",
    "Atan2",
    "Atanh",
    "Ceil",
    "Cos",
    "Cosh",
    "Div",
    "Equal",
    "Erf",
    "Erfc",
    "Exp",
    "Expm1",
    "Floor",
    "FloorDiv",
    "GeLU",
    "Greater",
    "GreaterEqual",
    "Hypot",
    "Less",
    "LessEqual",
    "Log",
    "Log1p",
    "LogicalAnd",
    "LogicalOr",
    "LogicalXor",
    "Maximum",
    "Minimum",
    "Mod",
    "Mul",
    "Neg",
    "NotEqual",
    "Pow",
    "ReLU",
    "Reciprocal",
    "Round",
    "Rsqrt",
    "Sech2",
    "SiLU",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softplus",
    "Sqrt",
    "Square",
    "Sub",
    "Tan",
    "Tanh",
    "Trunc",
]

class Neg(Primitive):
    """-x, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Abs(Primitive):
    """|x|; derivative 0 at 0, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Square(Primitive):
    """x², elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Sqrt(Primitive):
    """square root; derivative inf at 0, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Rsqrt(Primitive):
    """1/√x, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Reciprocal(Primitive):
    """1/x, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Exp(Primitive):
    """eˣ, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Expm1(Primitive):
    """eˣ − 1, accurate near 0, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Log(Primitive):
    """natural logarithm, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Log1p(Primitive):
    """log(1 + x), accurate near 0, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Sin(Primitive):
    """sine of x in radians, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Cos(Primitive):
    """cosine of x in radians, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Tan(Primitive):
    """tangent of x in radians, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Asin(Primitive):
    """inverse sine, in radians, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Acos(Primitive):
    """inverse cosine, in radians, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Atan(Primitive):
    """inverse tangent, in radians, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Sinh(Primitive):
    """hyperbolic sine, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Cosh(Primitive):
    """hyperbolic cosine, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Tanh(Primitive):
    """hyperbolic tangent, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Sech2(Primitive):
    """1/cosh²x = 1 − tanh²x, accurate for large x, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Asinh(Primitive):
    """inverse hyperbolic sine, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Acosh(Primitive):
    """inverse hyperbolic cosine, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Atanh(Primitive):
    """inverse hyperbolic tangent, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Erf(Primitive):
    """error function, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Erfc(Primitive):
    """1 − erf(x), accurate for large x, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Sigmoid(Primitive):
    """1/(1 + e⁻ˣ), elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Softplus(Primitive):
    """log(1 + eˣ), elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class ReLU(Primitive):
    """max(x, 0); derivative 0 at 0, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class GeLU(Primitive):
    """x Φ(x) with the normal distribution function Φ, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class SiLU(Primitive):
    """x/(1 + e⁻ˣ), elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Sign(Primitive):
    """−1, 0 or 1, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Floor(Primitive):
    """largest integer not above x, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Ceil(Primitive):
    """smallest integer not below x, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Round(Primitive):
    """nearest integer, halves to even, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Trunc(Primitive):
    """x without its fraction, elementwise."""
    def __call__(self, x: TensorLike, /) -> Tensor: ...

class Add(Primitive):
    """x + y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Sub(Primitive):
    """x − y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Mul(Primitive):
    """x · y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Div(Primitive):
    """x / y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Pow(Primitive):
    """xʸ; right at x = 0, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Atan2(Primitive):
    """angle of the point (y, x), in radians, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Hypot(Primitive):
    """√(x² + y²) without overflow; derivatives 0 at the origin, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Maximum(Primitive):
    """the larger; ties share the derivative, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Minimum(Primitive):
    """the smaller; ties share the derivative, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class FloorDiv(Primitive):
    """⌊x / y⌋, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Mod(Primitive):
    """x − y ⌊x / y⌋, of the sign of y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Equal(Primitive):
    """x = y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class NotEqual(Primitive):
    """x ≠ y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Less(Primitive):
    """x < y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class LessEqual(Primitive):
    """x ≤ y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class Greater(Primitive):
    """x > y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class GreaterEqual(Primitive):
    """x ≥ y, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class LogicalAnd(Primitive):
    """both are not 0, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class LogicalOr(Primitive):
    """one is not 0, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...

class LogicalXor(Primitive):
    """just one is not 0, elementwise."""
    def __call__(self, x: TensorLike, y: TensorLike, /) -> Tensor: ...
