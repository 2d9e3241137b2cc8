"""The command `biglearn`: inspect, fit, sample, complete, impute, init, evaluate, simulate, report, compare, doctor, demo.

    biglearn fit faces/ -o model && biglearn complete model photo.png --given upper --draws 8 -o draws.png

Everything heavy is imported inside the commands, so that `biglearn --help` answers at once.
"""

from __future__ import annotations

from pipeline.app import ask_commands, inspect_commands, model_commands, project_commands  # noqa: F401  they register their commands
from pipeline.app.command_group import app


def main() -> None:
    """Entry point `biglearn`."""
    app(prog_name="biglearn")


if __name__ == "__main__":
    main()
