"""What is shown of a run, in words: the same for the terminal and for the page."""

from __future__ import annotations

import time
from dataclasses import dataclass

from fusion.watching.pace import seconds_left
from fusion.watching.state import RunState, StepState
from fusion.watching.verdict import Verdict, verdict

STUCK_S = 60.0
"""Silence of a step that is worth a word."""
SHOWN_NOTICES = 5


@dataclass(frozen=True)
class Row:
    """One step. Example: Row("responses/a", "running", 0.25, "120/480", "3.2/s, 2 min left")"""

    name: str
    status: str
    share: float | None
    """In [0, 1]; None: not running, or not known."""
    count: str
    detail: str


@dataclass(frozen=True)
class View:
    """A run at a moment."""

    run: str
    verdict: Verdict
    headline: str
    advice: str
    """What to type, or an empty string."""
    rows: tuple[Row, ...]
    notices: tuple[str, ...]

    @property
    def is_over(self) -> bool:
        return self.verdict in (Verdict.DONE, Verdict.FAILED, Verdict.INTERRUPTED, Verdict.KILLED)


def view_of(state: RunState, now: float) -> View:
    """`now`: seconds since 1970."""
    told = verdict(state, now)
    is_live = told in (Verdict.RUNNING, Verdict.SILENT)
    # Of a run that was killed nobody wrote down that its steps stopped; what it forecast ended with it.
    rows = tuple(_row(step, now if is_live else state.sign, is_live) for step in state.steps)
    notices = tuple(f"{span(now - at)} ago: {text}" for at, text in state.notices[-SHOWN_NOTICES:])
    return View(state.run, told, _headline(state, told, now), _advice(state, told), rows, notices)


def span(seconds: float) -> str:
    """`45 s`, `3 min`, `2 h 5 min`, `3 d 4 h`"""
    whole = max(round(seconds), 0)
    if whole < 100:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def _headline(state: RunState, told: Verdict, now: float) -> str:
    num_done = sum(step.status == "done" for step in state.steps)
    steps = f"{num_done} of {len(state.steps)} steps done" if state.steps else "planning"
    where = f"pid {state.pid} on {state.host}"
    if told is Verdict.RUNNING:
        return f"running for {span(now - state.began)}, {steps} ({where})"
    if told is Verdict.SILENT:
        return f"no sign for {span(now - state.sign)}, since {_clock(state.sign)}; {steps} ({where})"
    if told is Verdict.KILLED:
        return f"killed: no sign since {_clock(state.sign)}, and {where} is gone; {steps}"
    ended = state.ended or state.sign
    after = f" after {span(ended - state.began)}" if ended > state.began else ""
    return f"{told}{after}, {span(now - ended)} ago, {steps}"


def _advice(state: RunState, told: Verdict) -> str:
    again = f"type: {state.command}" if state.command else "type the same command again"
    if told is Verdict.KILLED or told is Verdict.INTERRUPTED:
        return f"everything committed is kept; to go on from there {again}"
    if told is Verdict.FAILED:
        kept = f"log.txt of the run says more; everything committed is kept; to try again {again}"
        return f"{state.message}\n{kept}"
    if told is Verdict.SILENT:
        return f"it may be busy, stopped, or gone with its machine: look there, e.g. ssh {state.host} ps {state.pid}"
    return ""


def _row(step: StepState, now: float, is_live: bool) -> Row:
    if step.status != "running":
        if step.status == "waiting":
            return Row(step.name, step.status, None, "", step.plan if step.plan != "NEW" else "")
        taken = "HIT   " if step.plan == "HIT" else ""
        return Row(step.name, step.status, None, _count(step) if step.status != "done" else "", taken + step.accounts)
    share = min(step.done / step.total, 1.0) if step.total else None
    if not is_live:
        return Row(step.name, "stopped", share, _count(step), "")
    return Row(step.name, step.status, share, _count(step), _pace(step, now))


def _count(step: StepState) -> str:
    if not step.total and not step.done:
        return ""
    return f"{step.done:,}/{step.total:,}" if step.total else f"{step.done:,}"


def _pace(step: StepState, now: float) -> str:
    words = []
    if step.rate:
        words.append(f"{step.rate:.3g}/s")
        left = seconds_left(step.rate, step.done, step.total, now - (step.moved or now))
        words += [f"{span(left)} left"] if left else []
    if step.began is not None:
        words.append(f"for {span(now - step.began)}")
        quiet = now - (step.moved or step.began)
        words += [f"nothing new for {span(quiet)}"] if quiet > STUCK_S and step.moved else []
    return ", ".join(words)


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
