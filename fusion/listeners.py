"""Several who want to know of a run, told one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from fusion.artifact import Artifact
from fusion.plan import Planned
from fusion.runner import Listener
from fusion.step import Step
from fusion.tree import TreeArtifact


class Listeners:
    """A `fusion.runner.Listener` made of others. Example: Listeners(terminal, recorder)"""

    def __init__(self, *all_of: Listener) -> None:
        self._all = all_of

    def planned(self, steps: Sequence[Planned]) -> None:
        for one in self._all:
            one.planned(steps)

    def started(self, step: Step) -> None:
        for one in self._all:
            one.started(step)

    def progress(self, step: Step, done: int, total: int) -> None:
        for one in self._all:
            one.progress(step, done, total)

    def sealed(self, step: Step, artifact: Artifact | TreeArtifact) -> None:
        for one in self._all:
            one.sealed(step, artifact)

    def notice(self, text: str) -> None:
        for one in self._all:
            one.notice(text)
