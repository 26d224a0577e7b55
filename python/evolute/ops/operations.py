"""Operations as objects, such as ``operations.Sin()``."""

from evolute.ops._elementwise import *  # noqa: F403
from evolute.ops._hooks import *  # noqa: F403
from evolute.ops._structural import *  # noqa: F403
from evolute.ops.primitives import *  # noqa: F403
