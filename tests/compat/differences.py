"""Where Evolute differs from MindSpore 2.10 on the cases, and why. Each entry stands for a case or a group of cases."""

from __future__ import annotations

REFUSED = "MindSpore refuses it; Evolute computes it"
STRUCTURED = (
    "gradients by the members of a tuple, list or dict: MindSpore gives an empty tuple unless the argument is mutable "
    "and the mode is graph mode; Evolute gives them in the structure of the argument"
)
WRONG = "MindSpore gives a wrong result here; Evolute's is that of the formula"
OTHER_ERROR = "both raise, exceptions of different types"

DIFFERENCES = {
    "ops/grad of grad/log_softmax": REFUSED,
    "ops/jvp/log_softmax": REFUSED,
    "ops/structure/roll": REFUSED,
    "ops/linalg/cholesky": REFUSED,
    "ops/binary second/matmul": "MindSpore's modes differ from each other; Evolute agrees with its graph mode in both",
    "GradOperation/integer input": "MindSpore gives a gradient by an integer tensor; Evolute raises DTypeError",
    "grad/structured arguments/tuple": STRUCTURED,
    "grad/structured arguments/list": STRUCTURED,
    "grad/structured arguments/dict": STRUCTURED,
    "grad/structured arguments/mutable tuple": STRUCTURED,
    "grad/structured arguments/mutable list": STRUCTURED,
    "grad/structured arguments/mutable dict": STRUCTURED,
    "grad/second argument is a tuple": WRONG,
    "grad/ids/1": "MindSpore's modes differ from each other; Evolute agrees with its graph mode in both",
    "grad/ids without weights/1": WRONG,
    "get_grad/one position": "MindSpore's modes differ from each other; Evolute agrees with its graph mode in both",
    "cells/names/shared": "a cell of two names: MindSpore names its parameters after the last, Evolute after the first",
    "cells/requires_grad/set_grad": "`set_grad(False)` freezes a cell's parameters in Evolute, not in MindSpore",
    "nn/optimiser/Momentum nesterov": WRONG,
    "errors/grad of no function": OTHER_ERROR,
    "errors/position out of range": OTHER_ERROR,
    "errors/aux of one output": OTHER_ERROR,
    "errors/shapes of matmul": OTHER_ERROR,
    "errors/shapes of add": OTHER_ERROR,
    "errors/cell without construct": OTHER_ERROR,
    "errors/get_grad of nothing": OTHER_ERROR,
    "errors/set_data of another shape": "a parameter of Evolute keeps its shape; MindSpore takes on that of the data",
}
