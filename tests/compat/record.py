"""Record what MindSpore makes of the cases: `python tests/compat/record.py`, where MindSpore and numpy<2 are installed.

It writes `reference.json` beside itself. A few minutes on two cores, most of them MindSpore's compiler.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))


def main() -> None:
    import mindspore

    import compat.cases_cells
    import compat.cases_grad
    import compat.cases_ops  # noqa: F401
    from compat.cases import CASES
    from compat.results import describe

    warnings.simplefilter("ignore")
    path = HERE / "reference.json"
    only = sys.argv[1:]
    modes = {"graph": mindspore.GRAPH_MODE, "pynative": mindspore.PYNATIVE_MODE}
    results: dict[str, Any] = json.loads(path.read_text())["results"] if only and path.exists() else {}
    for name in [name for name in CASES if not only or any(part in name for part in only)]:
        here = {}
        for mode_name, mode in modes.items():
            mindspore.set_context(mode=mode, device_target="CPU")
            here[mode_name] = describe(CASES[name])
        results[name] = here["graph"] if here["graph"] == here["pynative"] else here
        print(name, flush=True)
    results = {name: results[name] for name in CASES if name in results}
    content = {"mindspore": mindspore.__version__, "results": results}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(result)}" for name, result in results.items())
    path.write_text(f'{{"mindspore": {json.dumps(content["mindspore"])}, "results": {{\n{lines}\n}}}}\n')


if __name__ == "__main__":
    main()
