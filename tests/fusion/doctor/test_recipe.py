"""The doctor holds what a recipe plans against what this machine has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fusion.config import composed
from fusion.doctor.finding import Finding, Grade
from fusion.doctor.recipe import gpus, memory, recipe, rooms

SAID = "MemTotal:       24000000 kB\nMemFree:          100000 kB\nMemAvailable:   10485760 kB\n"


def found(tmp_path: Path, *words: str) -> dict[str, Finding]:
    return {one.name: one for one in recipe(composed([*words, f"store.path={tmp_path}/store", f"runs={tmp_path}"]))}


def test_the_quickstart_fits_where_tests_run(tmp_path: Path) -> None:
    told = found(tmp_path, "experiment=quickstart")
    assert {name: one.grade for name, one in told.items()} == dict.fromkeys(
        ("recipe", "room", "gpus", "memory"), Grade.OK
    )


def test_a_source_that_no_memory_holds_is_told(tmp_path: Path) -> None:
    """One that answers on CPUs: a billion billion GiB of cache."""
    told = found(tmp_path, "experiment=quickstart", "cluster.pools.gemma3_270m.kv_cache_gib=1e9")
    assert told["memory"].grade is Grade.FAIL
    assert "takes 1000000000." in told["memory"].found


def test_what_does_not_fit_on_its_gpus_is_told_by_name(tmp_path: Path) -> None:
    told = found(
        tmp_path, "experiment=fusechat3_llama31_8b", "cluster=one_gpu_node", "cluster.pools.checkpoint.replicas=128"
    )
    assert told["recipe"].grade is Grade.FAIL
    assert "cluster.pools.checkpoint.replicas=" in told["recipe"].found


def test_folders_of_one_disk_share_its_room(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free / 2**30
    (alone,) = rooms([(tmp_path, 0.6 * free)])
    assert alone.grade is Grade.OK
    (both,) = rooms([(tmp_path, 0.6 * free), (tmp_path, 0.6 * free)], ", and more")
    assert both.grade is Grade.FAIL
    assert "GiB planned, and more" in both.found
    assert both.remedy.startswith("free ")


@pytest.mark.parametrize(("here", "grade"), [(7, Grade.FAIL), (8, Grade.OK)])
def test_gpus_that_are_not_here_would_be_waited_for(here: int, grade: Grade) -> None:
    finding = gpus(8, here)
    assert finding.grade is grade
    assert finding.found == f"cluster.capacity.gpus=8, {here} are here"


@pytest.mark.parametrize(("need", "grade"), [(9.9, Grade.OK), (10.1, Grade.FAIL)])
def test_memory_is_what_is_available_not_what_is_there(need: float, grade: Grade) -> None:
    finding = memory(need, SAID)
    assert finding.grade is grade
    assert "10.0 GiB are free" in finding.found
