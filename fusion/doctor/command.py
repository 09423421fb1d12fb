"""`fusion doctor [key=value ...]`: prints every finding; with an experiment also what its recipe needs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console

from fusion.doctor import cluster, hub, machine, packages, recipe, sandbox, store
from fusion.doctor.finding import Finding, Grade
from fusion.overrides import composed_by_hydra

if TYPE_CHECKING:
    from omegaconf import DictConfig


def examine(arguments: Sequence[str]) -> int:
    """0, or 1 if something would stop a run."""
    return composed_by_hydra(list(arguments), _examined)


def _examined(tree: DictConfig) -> int:
    from fusion.submission.inside import settled

    settled(tree, os.environ)
    console = Console()
    failed = False
    for finding in _findings(tree):
        failed = failed or finding.grade is Grade.FAIL
        mark = f"[{finding.grade.value}]{finding.grade.name:<4}[/]"
        console.print(mark, f"{finding.name:<12}", end=" ")
        console.print(finding.found, markup=False, highlight=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"       type: {finding.remedy}", style="yellow", markup=False, soft_wrap=True)
    return 1 if failed else 0


def _findings(tree: DictConfig) -> Iterator[Finding]:
    from omegaconf import OmegaConf

    for check in (*machine.CHECKS, *packages.CHECKS, sandbox.sandbox, hub.hub, *cluster.CHECKS, store.object_stores):
        yield check()
    yield store.store(str(tree.store.path))
    yield cluster.joined(tree.cluster.ray.address)
    if not OmegaConf.is_missing(tree, "name"):
        yield from recipe.recipe(tree)
