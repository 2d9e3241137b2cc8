"""A flow as a command: its exit code, and an end that comes even when the Prefect server is gone."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

from flows.temporary_server import use_prefect_server
from pipeline.base.failures import exit_code, line_of
from pipeline.base.streams import ready_streams

EXIT_LIMIT_S = 45.0  # of an interrupted or finished flow: stages get 20 s to save, the server the last logs
INTERRUPTED = 130


def run_and_exit(main: Callable[[], int | None]) -> NoReturn:
    """Exits with what `main` returns or exits with (None: 0), or 130 after Ctrl-C.

    `main` runs with the configured Prefect server or a temporary one. When a server has died, Prefect tries for minutes
    to tell it the end of the run: EXIT_LIMIT_S seconds after Ctrl-C, or after `main`, the process ends without that.
    """

    def interrupt(*_: object) -> None:
        _end_later(INTERRUPTED)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    ready_streams()
    try:
        use_prefect_server()
        code = main() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        if os.environ.get("BIGLEARN_TRACEBACK"):
            raise
        print(line_of(error), file=sys.stderr)
        code = exit_code(error)
    except KeyboardInterrupt:
        print("interrupted; a rerun goes on from the last checkpoint", file=sys.stderr)
        code = INTERRUPTED
    sys.stdout.flush()
    _end_later(code)
    sys.exit(code)


def _end_later(code: int) -> None:
    watchdog = threading.Timer(EXIT_LIMIT_S, os._exit, [code])
    watchdog.daemon = True
    watchdog.start()
