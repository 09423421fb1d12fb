"""Which steps run together: those of a gang, as far as none of them waits for another.

A step may need, through steps of other gangs, what its own gang makes: the second turn of a conversation needs an
answer to the first, of the same engine. It then comes in a later job of the gang.
"""

from __future__ import annotations

from collections.abc import Sequence

from fusion.plan import Planned
from fusion.step import Step

Waves = dict[str, int]
"""Gang -> number of the first of its jobs that may need what a step makes."""


def jobs(planned: Sequence[Planned]) -> list[list[Planned]]:
    """Steps that run in one call each, in the order of `planned`."""
    known: dict[str, tuple[int, Waves]] = {}
    found: dict[tuple[str, int], list[Planned]] = {}
    for one in planned:
        wave, _ = _wave(one.step, known)
        found.setdefault((_gang(one.step), wave), []).append(one)
    return list(found.values())


def _wave(step: Step, known: dict[str, tuple[int, Waves]]) -> tuple[int, Waves]:
    """Which job of its gang a step belongs to, and from which on jobs may need it."""
    if step.fingerprint not in known:
        own, later = 0, Waves()
        for source in (*step.inputs.values(), *step.after):
            wave, needed = _wave(source, known)
            # What a step of the same gang makes is there within the job.
            own = max(own, wave if _gang(source) == _gang(step) else needed.get(_gang(step), 0))
            later = {gang: max(needed.get(gang, 0), later.get(gang, 0)) for gang in needed.keys() | later.keys()}
        known[step.fingerprint] = own, later | {_gang(step): max(own + 1, later.get(_gang(step), 0))}
    return known[step.fingerprint]


def _gang(step: Step) -> str:
    return step.gang or step.fingerprint
