"""Whether this machine has what a recipe takes, as far as a plan knows it: room on its disks, memory, GPUs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fusion import location
from fusion.costs.account import read_accounts
from fusion.costs.kept import spent_folder
from fusion.doctor.finding import Finding, judged
from fusion.doctor.store import there
from fusion.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from fusion.planning.layout import Laid
    from fusion.planning.step_forecast import StepForecast

MEMORY = Path("/proc/meminfo")


def recipe(tree: DictConfig) -> Iterator[Finding]:
    """Of a composed config; what is done already takes nothing."""
    from fusion.plan import done
    from fusion.planning.generations import demand_room
    from fusion.planning.host_memory import least_host_gib
    from fusion.planning.prospect import prospect

    try:
        laid = _laid(tree)
        made = done(laid.planned)
        demand_room(laid.recipe, made)
    except ConfigError as error:
        yield judged("recipe", str(error), failure="what it says; `fusion plan` with the same words shows all of it")
        return
    config = laid.recipe.config
    seen = prospect(laid.recipe, read_accounts(spent_folder(config)), made)
    left = [one for one in seen.steps if one.fingerprint not in made]
    unknown = sum(one.rows is None for one in left)
    yield judged("recipe", f"{config.name}: {len(left)} steps to do, and what they ask for fits")
    least = f", and more of {unknown} steps of unknown size" if unknown else ""
    yield from rooms(_wanted(config.store.path, left), least)
    if config.cluster.ray.address is None:
        yield gpus(config.cluster.capacity.gpus, len(list(Path("/dev").glob("nvidia[0-9]*"))))
        yield memory(least_host_gib(laid.recipe, made), MEMORY.read_text())


def rooms(wanted: Sequence[tuple[Path, float]], least: str = "") -> Iterator[Finding]:
    """A finding a disk.

    Args:
        wanted: folder -> GiB that will be written there; folders on one disk share its room.
    """
    disks: dict[int, list[tuple[Path, float]]] = {}
    for folder, gib in wanted:
        disks.setdefault(os.stat(folder).st_dev, []).append((folder, gib))
    for each in disks.values():
        folder, need = each[0][0], sum(gib for _, gib in each)
        free = shutil.disk_usage(folder).free / 2**30
        remedy = "" if free >= need else f"free {need - free:.0f} GiB, or store.path=FOLDER and HF_HOME on other disks"
        yield judged("room", f"{need:.1f} GiB planned{least}, {free:.0f} GiB free at {folder}", failure=remedy)


def gpus(wanted: int, here: int) -> Finding:
    """GPUs that a run on this machine counts on, against those that are there; it would wait for the others."""
    remedy = "" if wanted <= here else f"cluster.capacity.gpus={here} and smaller pools, or cluster=laptop"
    return judged("gpus", f"cluster.capacity.gpus={wanted}, {here} are here", failure=remedy)


def memory(need: float, told: str) -> Finding:
    """What engines on the CPUs of this machine need in GiB, against what /proc/meminfo says is available."""
    free = next(int(line.split()[1]) for line in told.splitlines() if line.startswith("MemAvailable:")) / 2**20
    remedy = "" if free >= need else "smaller sources, cluster.pools.responses.kv_cache_gib, or another machine"
    return judged("memory", f"the largest engine takes {need:.1f} GiB or more, {free:.1f} GiB are free", failure=remedy)


def _wanted(store: str, left: Sequence[StepForecast]) -> list[tuple[Path, float]]:
    """Of the store, where it is on a disk, and of the models that are fetched."""
    from huggingface_hub import constants

    fetched = [(there(constants.HF_HUB_CACHE), sum(one.download_gib for one in left))]
    kept = [(there(store), sum(one.disk_gib for one in left))] if location.is_local(store) else []
    return kept + fetched


def _laid(tree: DictConfig) -> Laid:
    from fusion.config import typed
    from fusion.pipeline import build
    from fusion.plan import plan
    from fusion.planning.layout import laid_out
    from fusion.revisions import PLAN_WAIT_S, pin

    pin(tree, PLAN_WAIT_S)
    config = typed(tree)
    built = build(config)
    return laid_out(built, plan(config.store.path, built.targets), read_accounts(spent_folder(config)))
