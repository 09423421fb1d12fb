"""`fusion status`: how a run goes, in the terminal or on a page."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from fusion.errors import ConfigError
from fusion.watching.state import FILE, read_state
from fusion.watching.terminal import run_panel, runs_table
from fusion.watching.view import View, view_of
from fusion.wide_console import wide_console

LOOK_S = 1.0
PORT = 8270


def status(arguments: Sequence[str]) -> int:
    """`fusion status [RUN]`"""
    parser = argparse.ArgumentParser(prog="fusion status", description="how a run goes, or how it ended")
    parser.add_argument("run", nargs="?", help="name of a run; without it, a line for every run there is")
    parser.add_argument("--runs", default="runs", help="folder of runs")
    parser.add_argument("--follow", action="store_true", help="stay, and show it anew every second until it ends")
    serving = parser.add_argument_group("in a browser")
    serving.add_argument(
        "--serve", nargs="?", type=int, const=PORT, metavar="PORT", help=f"a live page on this machine (default {PORT})"
    )
    serving.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; any but 127.0.0.1 shows the run to the network"
    )
    options = parser.parse_args(arguments)
    console = wide_console()
    if options.run is None:
        if options.follow or options.serve is not None:
            raise ConfigError(f"which run? type `fusion status RUN` with one of: {_names(options.runs)}")
        console.print(runs_table(_all(options.runs)))
        return 0
    look(options.runs, options.run)
    if options.serve is not None:
        from fusion.watching.server import serve

        serve(lambda: look(options.runs, options.run), options.host, options.serve, console)
    elif options.follow:
        _follow(options.runs, options.run, console)
    else:
        console.print(run_panel(look(options.runs, options.run)))
    return 0


def look(runs: str, name: str) -> View:
    """The run as it is now.

    Raises:
        ConfigError: there is none of that name; says which there are.
    """
    state = read_state(Path(runs) / name)
    if state is None:
        raise ConfigError(
            f"{Path(runs) / name} holds no run that began; type `fusion run experiment={name}` first (runs in {runs}/: "
            f"{_names(runs)})"
        )
    return view_of(state, time.time())


def _follow(runs: str, name: str, console: Console) -> None:
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            view = look(runs, name)
            live.update(run_panel(view), refresh=True)
            if view.is_over:
                return
            time.sleep(LOOK_S)


def _all(runs: str) -> list[View]:
    """Every run, the one that gave a sign last first."""
    states = [state for name in _folders(runs) if (state := read_state(Path(runs) / name)) is not None]
    if not states:
        raise ConfigError(f"{runs}/ holds no run; type `fusion run experiment=quickstart` first, or --runs FOLDER")
    return [view_of(state, time.time()) for state in sorted(states, key=lambda state: -state.sign)]


def _names(runs: str) -> str:
    return ", ".join(_folders(runs)) or "none"


def _folders(runs: str) -> list[str]:
    return sorted({path.parent.name for file in (FILE, "result.json") for path in Path(runs).glob(f"*/{file}")})
