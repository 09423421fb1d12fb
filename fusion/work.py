"""What a stage gets to do: one step with its opened inputs and its open output."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fusion.artifact import Artifact
from fusion.step import Step
from fusion.tree import TreeArtifact, TreeWriter
from fusion.writer import ArtifactWriter

Input = Artifact | TreeArtifact | ArtifactWriter
"""A sealed artifact; or the writer of a streamed input, of which only `stream()`, `folder` and `table` are used."""


@dataclass(frozen=True)
class Work:
    """One step of a gang, ready to run."""

    step: Step
    inputs: Mapping[str, Input]
    out: ArtifactWriter | TreeWriter
    progress: Callable[[int, int], None]
    """`progress(done, total)` in accounting units; total 0 while unknown."""
    stopped: Callable[[], bool]
    """Whether the run is being ended; long loops look at it between units of work."""

    def table_in(self, name: str) -> Artifact:
        """A sealed table input."""
        artifact = self.inputs[name]
        assert isinstance(artifact, Artifact), name
        return artifact

    def rows_in(self, name: str) -> Artifact | ArtifactWriter:
        """A table input that may still be being written."""
        artifact = self.inputs[name]
        assert isinstance(artifact, Artifact | ArtifactWriter), name
        return artifact

    def model_in(self, name: str) -> TreeArtifact:
        artifact = self.inputs[name]
        assert isinstance(artifact, TreeArtifact), name
        return artifact

    @property
    def rows_out(self) -> ArtifactWriter:
        assert isinstance(self.out, ArtifactWriter)
        return self.out

    @property
    def files_out(self) -> TreeWriter:
        assert isinstance(self.out, TreeWriter)
        return self.out
