"""``python -m evolute.compat.mindspore script.py [arguments]``, or ``-m module [arguments]``."""

import runpy
import sys
from pathlib import Path

from evolute.compat.mindspore import install

USAGE = "usage: python -m evolute.compat.mindspore (script.py | -m module) [arguments]"


def main() -> None:
    """Run a script or a module with `mindspore` standing for Evolute."""
    arguments = sys.argv[1:]
    if not arguments or arguments == ["-m"] or arguments[0] in ("-h", "--help"):
        sys.exit(USAGE)
    install()
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path.insert(0, "")
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path.insert(0, str(Path(arguments[0]).resolve().parent))
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main()
