"""The examples of MindSpore's gradient guide, in its order, with `evolute` in place of `mindspore`.

Each example is a function that prints what the guide's code prints; `Example.documented` is what the guide says that
is. The guide repeats its classes from one example to the next; here those that stay the same stand once.

``quickstart.py`` runs them all and shows both texts. The tests hold the numbers.
"""

from guide import first_order, higher_order, jvp_vjp
from guide.example import EXAMPLES, Example, numbers

__all__ = ["EXAMPLES", "Example", "first_order", "higher_order", "jvp_vjp", "numbers"]
