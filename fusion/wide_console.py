"""The terminal; into a pipe or a file, as wide as the tables of a plan."""

from __future__ import annotations

import os
import sys

from rich.console import Console

PIPE_WIDTH = 180


def wide_console() -> Console:
    """As wide as the terminal, as COLUMNS says, or `PIPE_WIDTH`."""
    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console() if told else Console(width=PIPE_WIDTH)
