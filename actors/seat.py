"""Where an actor's process sits, and the proof that it has left."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.device import Probe, nvidia_smi, taken
from fusion.errors import EngineError
from fusion.step import Placement

CHECK_S = 0.05
PATIENCE = 0.25
"""Share of the time to leave in which processes may leave by themselves."""
MEMORY_S = 60.0
"""The driver gives memory back some seconds after a process has left; longer means that somebody holds it."""
BACK_SHARE = 0.9
"""Free share of a GPU's memory by which it counts as given back; contexts of others and ECC take some of it."""
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seat:
    """An actor's process. It leads a process group, to which the processes it started belong."""

    pid: int
    node_id: str
    host: str
    devices: tuple[str, ...] = ()
    """Its GPUs, by the driver's names."""

    def __str__(self) -> str:
        return f"pid {self.pid} on {self.host}"


def take_seat(placement: Placement) -> Seat:
    """This process as a seat, ready for a session to be opened in it."""
    # Ray sets it to the actor's logical CPUs, which may be a fraction. It is read when torch is first imported: later.
    os.environ["OMP_NUM_THREADS"] = str(max(1, int(placement.cpus)))
    # Threads that spin while they wait take the cores from the other engines of this machine: a tenth of the speed.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    here = ray.get_runtime_context()
    devices = tuple(str(one) for one in here.get_accelerator_ids().get("GPU", []))
    return Seat(os.getpid(), here.get_node_id(), os.uname().nodename, devices)


def demand_memory(devices: tuple[str, ...], placement: Placement, probe: Probe = nvidia_smi) -> None:
    """See that this machine's GPUs have the memory that the placement takes, before something is loaded into it.

    Raises:
        EngineError: naming the processes that hold it.
    """
    if held := taken(devices, placement.gpu_memory_frac, MEMORY_S, probe):
        raise EngineError(
            f"{held} on {os.uname().nodename}, and this step takes {placement.gpu_memory_frac:g} of it "
            "(placement.gpu_memory_frac). End that process, or lower the share"
        )


def beside_driver() -> dict[str, str]:
    """Label selector for what holds a step's state: on the node of this process, for if it goes, so does the driver."""
    return {ray._raylet.RAY_NODE_ID_KEY: ray.get_runtime_context().get_node_id()}


def waits_for_node(actor_id: str) -> bool:
    """Whether an actor has no process and is to get one; one that opens has its process, one that ended wants none."""
    told = ray._private.state.actors(actor_id)
    return bool(told) and told["State"] != "DEAD" and told["Address"]["Port"] == 0


def on_node_of(seat: Seat, function: Callable[..., T], *arguments: object) -> T:
    """Call a function on the machine of a process.

    Raises:
        RayError: the node is gone.
    """
    if seat.node_id == ray.get_runtime_context().get_node_id():
        return function(*arguments)
    there = NodeAffinitySchedulingStrategy(seat.node_id, soft=False)
    remote = ray.remote(function).options(num_cpus=0, scheduling_strategy=there)
    result: T = ray.get(remote.remote(*arguments))
    return result


def wait_until_gone(seat: Seat, name: str, timeout_s: float) -> None:
    """Return when the process and those it started have left their node, and the memory of its GPUs is back.

    Ray asks a process to end, and one that hangs in its own exit does not hear it, nor that its node has gone; so what
    has not left after a while is killed by the system. Memory that somebody else holds is a warning: this step is done,
    and the next one says what it lacks.

    Raises:
        EngineError: naming the processes that stay.
    """
    try:
        killed, left = on_node_of(seat, evict, seat.pid, timeout_s)
        held = "" if left or not seat.devices else on_node_of(seat, taken, seat.devices, BACK_SHARE, timeout_s)
    except RayError:
        return  # the node itself is gone, and all its processes with it
    if killed:
        log.warning("%s: processes %s on %s hung at their end and were killed", name, killed, seat.host)
    if held:
        log.warning("%s: its processes on %s are gone, yet %s", name, seat.host, held)
    if left:
        raise EngineError(
            f"{name}: killed {timeout_s:.0f} s ago, but {', '.join(left)} on {seat.host} live and may hold its devices"
        )


def evict(pid: int, timeout_s: float) -> tuple[list[int], list[str]]:
    """Wait for `pid` and its group to leave this machine, and kill those that do not; (killed, still there)."""
    killed = remaining(pid, timeout_s * PATIENCE)
    for one in killed:
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, signal.SIGKILL)
    return killed, [named(one) for one in remaining(pid, timeout_s * (1 - PATIENCE))]


def named(pid: int) -> str:
    """`pid 123 (python3)`."""
    try:
        return f"pid {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return f"pid {pid}"


def remaining(pid: int, timeout_s: float) -> list[int]:
    """Processes on this machine that are `pid` or belong to its group, after waiting for them to leave."""
    deadline = time.monotonic() + timeout_s
    while (left := _group_of(pid)) and time.monotonic() < deadline:
        time.sleep(CHECK_S)
    return left


def _group_of(leader: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it left while we looked
        pid, state, group = int(status.parent.name), fields[0], int(fields[2])
        if state not in "ZX" and leader in (pid, group):
            found.append(pid)
    return sorted(found)
