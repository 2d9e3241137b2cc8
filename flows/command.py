"""A flow as a command: its exit code, and an end that comes even when the Prefect server is gone."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

EXIT_LIMIT_S = 20.0  # for logs and events on their way to the server
INTERRUPTED = 130


def run_and_exit(main: Callable[[], int | None]) -> NoReturn:
    """Exits with what `main` returns or exits with (None: 0), or 130 after Ctrl-C.

    Ctrl-C in a terminal also ends a temporary server, and Prefect waits for ever to hand the last events to it: after
    EXIT_LIMIT_S seconds the process ends without them. The stages have ended before.
    """
    try:
        code = main() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        print("interrupted; a rerun goes on from the last checkpoint", file=sys.stderr)
        code = INTERRUPTED
    sys.stdout.flush()
    watchdog = threading.Timer(EXIT_LIMIT_S, os._exit, [code])
    watchdog.daemon = True
    watchdog.start()
    sys.exit(code)
