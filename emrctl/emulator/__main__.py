"""Main program of the emulator, `python -m emrctl.emulator --home DIR`; see `control.up`."""

from __future__ import annotations

import argparse
import logging
import os
import secrets
import signal
import sys
import threading
from pathlib import Path

from emrctl.emulator.cluster.scaling import INTERVAL_S
from emrctl.emulator.server import processes, server, state
from emrctl.errors import EmrctlError


def main() -> int:
    """Run the emulator until SIGTERM or SIGINT; return the exit code."""
    options = _parse_options()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    os.umask(0o077)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        state.prepare_home(options.home)
        server.serve(options, stop)
    except EmrctlError as error:
        print(f"{error} {error.hint}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        print(f"could not start the emulator: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _parse_options() -> server.ServerOptions:
    parser = argparse.ArgumentParser(prog="python -m emrctl.emulator")
    parser.add_argument("--home", type=lambda path: Path(path).absolute(), required=True)
    parser.add_argument("--region", default="us-east-1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--scaling-interval-s", type=float, default=INTERVAL_S)
    parser.add_argument("--start-lock", type=int)
    emulator_id = os.environ.setdefault(processes.EMULATOR_MARK, secrets.token_hex(8))
    return server.ServerOptions(**vars(parser.parse_args()), id=emulator_id)


if __name__ == "__main__":
    sys.exit(main())
