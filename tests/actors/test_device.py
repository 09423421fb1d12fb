"""Who holds the memory of a GPU, read from what nvidia-smi prints."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors import seat
from actors.device import Holder, Probe, nvidia_smi, read_devices, read_holders, taken
from fusion.errors import EngineError
from fusion.step import Placement

A, B = "GPU-5fb2c7a6-8f9c-0d7a-5f6e-2b1d1c9f4e11", "GPU-0c9e2d1f-4b7a-9d3c-8e55-7a6b5c4d3e22"
MEMORY = f"0, {A}, 70315, 81559\n1, {B}, 5, 81559\n"
PROCESSES = (
    f"{A}, 41822, ray::SourceActor, 70300\n{A}, 977, /opt/vendor/tool --mode=a, b, 12\n{B}, 41823, [Not Found], [N/A]\n"
)


def says(*answers: tuple[str, str] | None) -> Probe:
    """One answer a call, the last one for ever."""
    left = list(answers)

    def probe(devices: Sequence[str]) -> tuple[str, str] | None:
        return left.pop(0) if len(left) > 1 else left[0]

    return probe


def test_lines_of_processes_are_read_with_commas_in_names_and_unknown_amounts() -> None:
    assert read_holders(PROCESSES) == [
        Holder(A, 41822, "ray::SourceActor", 70300),
        Holder(A, 977, "/opt/vendor/tool --mode=a, b", 12),
        Holder(B, 41823, "[Not Found]", None),
    ]


def test_a_device_without_an_account_of_its_memory_is_left_out() -> None:
    assert [one.index for one in read_devices(MEMORY + f"2, {A}, [N/A], [N/A]\n")] == ["0", "1"]


def test_memory_that_is_taken_is_told_with_who_holds_it_and_how_much() -> None:
    assert taken(("0", "1"), 0.9, 0.0, says((MEMORY, PROCESSES))) == (
        "GPU 0 has 70,315 of 81,559 MiB taken by pid 41822 (ray::SourceActor, 70,300 MiB), "
        "pid 977 (/opt/vendor/tool --mode=a, b, 12 MiB)"
    )


def test_a_holder_that_is_not_shown_is_said_to_be_unknown() -> None:
    assert "taken by no process that nvidia-smi shows here" in taken(("0",), 0.9, 0.0, says((MEMORY, "")))


def test_memory_that_comes_back_in_time_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.device.CHECK_S", 0.01)
    assert taken(("0",), 0.9, 30.0, says((MEMORY, PROCESSES), (f"0, {A}, 4, 81559\n", ""))) == ""


def test_a_machine_that_cannot_tell_holds_nobody_up() -> None:
    assert taken(("0",), 0.9, 30.0, says(None)) == ""


def test_a_step_that_lacks_memory_names_the_holder_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seat, "MEMORY_S", 0.0)
    with pytest.raises(EngineError, match=r"pid 41822 \(ray::SourceActor.*takes 0.9.*gpu_memory_frac.*lower the share"):
        seat.demand_memory(("0",), Placement(gpus=1), says((MEMORY, PROCESSES)))
    seat.demand_memory(("0",), Placement(gpus=1, gpu_memory_frac=0.1), says((MEMORY, PROCESSES)))


def tool(folder: Path, body: str) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_the_tool_is_asked_for_the_devices_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, 'echo "$@"')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    told = nvidia_smi(("0", B))
    assert told is not None
    assert told[0] == f"--id=0,{B} --query-gpu=index,uuid,memory.used,memory.total --format=csv,noheader,nounits\n"
    assert "--query-compute-apps=gpu_uuid,pid,process_name,used_gpu_memory" in told[1]


def test_a_tool_that_fails_cannot_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path, "echo 'No devices were found'; exit 6")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert nvidia_smi(("MIG-7",)) is None
