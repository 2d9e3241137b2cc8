"""The dvc command line, ended by the kernel when the process that started it dies.

    python -m flows.dvc_child repro --single-item train

Without it, `kill -9` of a flow leaves dvc and a trainer at work where nobody sees them.
"""

from __future__ import annotations

import sys

from pipeline.stage import die_with_parent


def main() -> int:
    """DVC's exit code for the command-line arguments."""
    die_with_parent()
    from dvc.cli import main as dvc_main  # after the request above: the import takes a second

    return dvc_main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
