"""A `rowcast bridge` or `rowcast web` that loads its code first and hears its addresses then.

`up` starts these before Postgres and Valkey run, so that nobody waits for Python to import. The addresses come as the one line on
stdin, a JSON object of environment variables, and so don't show in the process's environment either.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

from rowcast.cli import main


def run() -> None:
    """Load, wait for the line, go on as `rowcast` with the same arguments; end of file instead of a line is an end."""
    importlib.import_module(f"rowcast.commands.{sys.argv[1]}")
    importlib.import_module(f"rowcast.wiring.{sys.argv[1]}")
    line = sys.stdin.readline()
    if line:
        os.environ.update(json.loads(line))
        main()


if __name__ == "__main__":
    run()
