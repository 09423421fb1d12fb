"""A step is data: what is computed, from what, and where.

    identity  kind, version, config, what it produces, fingerprints of its inputs   -> the address in the store
    elsewhere label, placement, gang                                                -> never part of the address

A row-local step has output rows that depend only on their own input row and the config; its rows can be taken over by
any step with the same `row_fingerprint`, so that adding prompts recomputes only the new rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fusion.fingerprint import canonical, fingerprint
from fusion.table import Table

if TYPE_CHECKING:
    from fusion.runtime import Runtime
    from fusion.work import Work


@dataclass(kw_only=True)
class Placement:
    """Where and how wide a step runs. Two runs that differ only here are the same experiment.

    Not frozen, because Hydra composes it (a frozen dataclass makes a read-only node); nobody assigns to it.
    """

    replicas: int = 1
    """Number of workers: engine replicas, scorer actors, training processes."""
    cpus: float = 1.0
    """CPU cores of one worker; engines get as many OpenMP threads."""
    gpus: int = 0
    """GPUs of one worker: tensor_parallel x pipeline_parallel for an engine."""
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    gpu_memory_frac: float = 0.9
    """Share of a GPU's memory an engine may take."""
    max_sequences: int = 256
    """Answers an engine works on at a time; sampling holds so many rows of the vocabulary, several times over."""
    kv_cache_gib: float = 1.0
    """KV cache of a CPU engine, in GiB."""
    part_rows: int = 16
    """Input rows of one unit of work, the grain of durability."""
    in_flight: int = 64
    """Most units of work outstanding at one worker; keeps the engine's batch full between parts."""
    max_restarts: int = 3
    """Infrastructure failures survived before the step fails."""
    stall_s: float = 600.0
    """A worker that reports nothing for this long counts as dead."""


@dataclass(kw_only=True)
class Capacity:
    """What steps that run at the same time may ask for together."""

    cpus: float = 6.0
    gpus: int = 0


@dataclass(frozen=True, kw_only=True)
class Tree:
    """The contract of an artifact that is a folder of files (a checkpoint), not a table."""

    name: str

    def contract(self) -> dict[str, object]:
        return {"tree": self.name}


CHECKPOINT = Tree(name="checkpoint")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One node of a recipe.

    Example:
        Step(kind="responses", label="gemma3_270m", run=generate.run, config=..., produces=RESPONSE,
             inputs={"prompts": prompts}, row_local=True)
    """

    kind: str
    """The plural noun of what it makes: responses, rewards, pairs."""
    label: str
    """For people and paths; not identity."""
    run: Callable[[Sequence[Work], Runtime], None]
    """Module-level function; gets every step of its gang that is not done yet."""
    config: object
    """Every field bears identity."""
    produces: Table | Tree
    inputs: Mapping[str, Step] = field(default_factory=dict)
    version: int = 1
    """Raised when `run` would give another result for the same config."""
    row_local: bool = False
    by_content: frozenset[str] = frozenset()
    """Inputs of a row-local step whose rows enter its own key by content (a prompt_id is the hash of its prompt): which
    other rows such an input holds, and how it was made, says nothing about an output row."""
    early: bool = False
    """Cheap, and where bad input shows: nothing that is not early starts before every early step is done."""
    streams: frozenset[str] = frozenset()
    """Inputs read while they are still being written."""
    after: tuple[Step, ...] = ()
    """Steps that must be done before this one starts, though nothing of theirs is read: gates. No identity."""
    gang: str = ""
    """Steps of one gang run together in one call (they share an engine, or one stream); empty: alone."""
    placement: Placement = field(default_factory=Placement)

    @cached_property
    def recipe(self) -> dict[str, object]:
        """Canonical, readable identity; stored as recipe.json."""
        return self._own() | {"inputs": {name: step.fingerprint for name, step in sorted(self.inputs.items())}}

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint(self.recipe)

    @cached_property
    def row_fingerprint(self) -> str:
        """As `fingerprint`, with each row-local input replaced by its own row fingerprint and each input that enters
        by content by its contract."""
        inputs = {name: self._row_identity(name, step) for name, step in sorted(self.inputs.items())}
        return fingerprint(self._own() | {"inputs": inputs})

    def _row_identity(self, name: str, step: Step) -> object:
        if name in self.by_content:
            return step.produces.contract()
        return step.row_fingerprint if step.row_local else step.fingerprint

    def _own(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "version": self.version,
            "config": canonical(self.config, self.kind),
            "produces": self.produces.contract(),
        }

    @property
    def name(self) -> str:
        return f"{self.kind}/{self.label}"

    @property
    def folder(self) -> str:
        return f"{self.kind}/{self.label}-{self.fingerprint}"


def topological(targets: Sequence[Step]) -> list[Step]:
    """Targets and everything they need, inputs first, each fingerprint once (the first one met names it)."""
    ordered: dict[str, Step] = {}

    def visit(step: Step) -> None:
        if step.fingerprint in ordered:
            return
        for _, needed in sorted(step.inputs.items()):
            visit(needed)
        ordered[step.fingerprint] = step

    for target in targets:
        visit(target)
    return list(ordered.values())
