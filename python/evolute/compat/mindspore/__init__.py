"""MindSpore programs, run by Evolute: ``python -m evolute.compat.mindspore script.py``.

`install` makes ``import mindspore`` and the imports of its modules give what stands in for them here: tensors, cells,
parameters, gradients, layers, losses, optimisers and operations, in the signatures of MindSpore 2. Names that do not
exist here raise an error that says so and names the nearest one that does. Programs that use the older signature
``vjp(fn, inputs, v)``, or ask for a device that is not there, run too.

Examples
--------
>>> from evolute.compat import mindspore
>>> mindspore.install()
>>> from mindspore import Tensor, grad, ops
>>> print(grad(lambda x: ops.sin(x) * x)(Tensor([0.0, 1.0])))
[0.        1.3817732]
>>> mindspore.uninstall()
"""

from evolute.compat.mindspore.modules import install, uninstall

__all__ = ["install", "uninstall"]
