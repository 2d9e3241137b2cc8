"""Another module's command line, ended by the kernel when the process that started it dies.

    python flows/child.py 4711 dvc repro --single-item train      # 4711: the process that starts it
    python -m flows.child - prefect.engine                        # -: whichever started it, as prefect.yaml has it

Started by its path, so that it works in the folder of another version of this project. Without it, `kill -9` of a flow
leaves dvc and a trainer at work where nobody sees them.
"""

from __future__ import annotations

import os
import runpy
import sys

from pipeline.base.parent import STARTED_BY, die_with_parent


def main() -> None:
    """Runs the module named second with the remaining arguments, as `python -m` does."""
    die_with_parent(STARTED_BY if sys.argv[1] == "-" else int(sys.argv[1]))
    sys.path[0] = os.getcwd()  # as `python -m` has it, instead of this file's folder
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
