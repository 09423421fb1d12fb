"""Variants of one job take turns, each in a process of its own that stays: what else the machine does hits all alike.

A benchmark file passes its own `__file__` and a dictionary of variants; each variant opens what it needs once and then
does one round at a time, with other prompts in each round.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

Round = Callable[[int], tuple[float, float]]
"""number of the round -> (amount done, seconds it took)"""
MARK = "turn: "


def take_turns(
    file: str, variants: Mapping[str, Callable[[], AbstractContextManager[Round]]], rounds: int
) -> dict[str, list[tuple[float, float]]] | None:
    """Amount and seconds of every round, by variant; None in the process of a variant, when it has done its part."""
    if len(sys.argv) > 1:
        with variants[sys.argv[1]]() as one_round:
            print(MARK + "ready", flush=True)
            for line in sys.stdin:
                print(MARK + json.dumps(one_round(int(line))), flush=True)
        return None
    processes = {name: _start(file, name) for name in variants}
    try:
        for process in processes.values():
            _heard(process)
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
        for number in range(rounds):
            names = list(variants)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                assert processes[name].stdin is not None
                processes[name].stdin.write(f"{number}\n")
                processes[name].stdin.flush()
                amount, seconds = json.loads(_heard(processes[name]))
                found[name].append((amount, seconds))
        return found
    finally:
        for process in processes.values():
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def rates(found: list[tuple[float, float]]) -> list[float]:
    return [amount / seconds for amount, seconds in found]


def ratio(one: list[float], other: list[float]) -> float:
    """Median over the rounds of one / other: both of a round were measured within seconds of each other."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def show(name: str, values: list[float], unit: str) -> None:
    print(f"  {name:<22} {statistics.median(values):8.1f} {unit}  ({', '.join(f'{value:.1f}' for value in values)})")


def _start(file: str, name: str) -> subprocess.Popen[str]:
    log = open(Path(f"/tmp/{Path(file).stem}-{name.replace(' ', '_')}.log"), "w")  # noqa: SIM115
    return subprocess.Popen(
        [sys.executable, file, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True
    )


def _heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(MARK):
            return line.removeprefix(MARK)
    raise SystemExit(f"{process.args} ended with {process.wait()}; its messages are in /tmp/")
