"""Training on Ray: Ray Train starts one process a worker, joins them, and starts all of them again when one dies.

Nothing travels through Ray: rows, checkpoints and the exported model are files in the job's folder, on a disk or an
object store, and a restarted process finds there where to go on.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import uuid
from collections.abc import Callable

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, get_context
from ray.train.torch import TorchConfig, TorchTrainer

from actors.replica import wanted
from actors.roster import Reporter, Roster
from actors.seat import beside_driver, demand_memory
from actors.training_watch import TICK_S, TrainingWatch
from actors.wait import Wait
from fusion import errors, location
from fusion.cluster_config import RayConfig
from fusion.errors import EngineError, FusionError
from fusion.runtime import TrainSpec, Waits
from fusion.step import Placement
from fusion.transfer import scratch

REFUSAL = "refused.json"
"""Error class and message of a process whose failure no restart mends."""

log = logging.getLogger(__name__)


def fit(
    spec: TrainSpec, placement: Placement, name: str, config: RayConfig, notice: Callable[[str], None], waits: Waits
) -> None:
    """Run `spec` in `placement.replicas` processes to its end.

    Raises:
        FusionError: what a process raised, that processes died or stalled more than `placement.max_restarts` times, or
            that no nodes came for them.
    """
    asked = wanted(placement, config.cpu_share)
    roster = ray.remote(Roster).options(num_cpus=0, label_selector=beside_driver()).remote()
    wait = Wait(name, [asked], config.resource_wait_s, notice)
    watch = TrainingWatch(roster, name, asked, placement.replicas, wait, spec.pulse, placement.stall_s, notice, waits)
    refusal = location.join(spec.folder, REFUSAL)
    location.remove(refusal)
    # Ray Train would ask again and again; our own limit is the lower one.
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(config.resource_wait_s * 2)
    try:
        _run(_trainer(spec, placement, name, asked, Reporter(roster)), watch)
    except TrainingFailedError as error:
        log.error("%s: %s", name, error)
        if not location.exists(refusal):
            last = [line for line in str(error).splitlines() if line.strip()][-1]
            raise EngineError(f"{name}: training failed {placement.max_restarts + 1} times; at last: {last}") from error
    finally:
        waits(0)
        watch.end()
    if location.exists(refusal):
        kind, message = json.loads(location.get(refusal))
        raise dict(vars(errors))[kind](message)


def _trainer(
    spec: TrainSpec, placement: Placement, name: str, asked: dict[str, float], reporter: Reporter
) -> TorchTrainer:
    return TorchTrainer(
        _process,
        train_loop_config={"spec": spec, "placement": placement},
        torch_config=TorchConfig(backend="nccl" if placement.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=placement.replicas, use_gpu=placement.gpus > 0, resources_per_worker=asked
        ),
        run_config=RunConfig(
            name=f"{name.replace('/', '-')}-{uuid.uuid4().hex[:8]}",
            storage_path=str(scratch(spec.folder)),  # nothing is reported to Ray Train, so it keeps nothing there
            failure_config=FailureConfig(max_failures=placement.max_restarts),
            callbacks=[reporter],
        ),
    )


def _run(trainer: TorchTrainer, watch: TrainingWatch) -> None:
    """The trainer in a thread of its own, for it cannot be watched from within."""
    failure: list[BaseException] = []

    def body() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            failure.append(error)

    running = threading.Thread(target=body, name=threading.current_thread().name, daemon=True)
    running.start()
    while running.is_alive():
        watch.look()
        running.join(TICK_S)
    if failure:
        raise failure[0]


def _process(config: dict[str, object]) -> None:
    """What Ray Train runs in each process. An error of ours would come again in a restart, so it is not tried again."""
    import torch

    spec, placement = config["spec"], config["placement"]
    refusal = location.join(spec.folder, REFUSAL)  # type: ignore[attr-defined]
    if location.exists(refusal):
        return
    assert isinstance(placement, Placement)
    if not placement.gpus:
        torch.set_num_threads(max(1, round(placement.cpus)))
    context = get_context()
    devices = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    try:
        demand_memory(tuple(map(str, devices)), placement)
        spec.run(context.get_world_rank(), context.get_world_size())  # type: ignore[attr-defined]
    except FusionError as error:
        location.put(refusal, json.dumps([type(error).__name__, str(error)]).encode())
        raise
