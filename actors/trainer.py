"""Training on Ray: Ray Train starts one process a worker, joins them, and starts all of them again when one dies.

Nothing travels through Ray: rows, checkpoints and the exported model are files in the job's folder, on a disk or an
object store, and a restarted process finds there where to go on.
"""

from __future__ import annotations

import json
import logging
import uuid

from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, get_context
from ray.train.torch import TorchConfig, TorchTrainer

from fusion import errors, location
from fusion.errors import EngineError, FusionError
from fusion.runtime import TrainSpec
from fusion.step import Placement
from fusion.transfer import scratch

REFUSAL = "refused.json"
"""Error class and message of a process whose failure no restart mends."""

log = logging.getLogger(__name__)


def fit(spec: TrainSpec, placement: Placement, name: str, cpu_share: float = 1.0) -> None:
    """Run `spec` in `placement.replicas` processes to its end.

    Args:
        cpu_share: logical CPUs asked of Ray for each thread of a process (`RayConfig.cpu_share`).

    Raises:
        FusionError: what a process raised, or that processes died more than `placement.max_restarts` times.
    """
    resources = {"CPU": placement.cpus * cpu_share} | ({"GPU": placement.gpus} if placement.gpus else {})
    trainer = TorchTrainer(
        _process,
        train_loop_config={"spec": spec, "threads": max(1, round(placement.cpus)), "use_gpu": placement.gpus > 0},
        torch_config=TorchConfig(backend="nccl" if placement.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=placement.replicas, use_gpu=placement.gpus > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(
            name=f"{name.replace('/', '-')}-{uuid.uuid4().hex[:8]}",
            storage_path=str(scratch(spec.folder)),  # nothing is reported to Ray Train, so it keeps nothing there
            failure_config=FailureConfig(max_failures=placement.max_restarts),
        ),
    )
    refusal = location.join(spec.folder, REFUSAL)
    location.remove(refusal)
    try:
        trainer.fit()
    except TrainingFailedError as error:
        log.error("%s: %s", name, error)
        if not location.exists(refusal):
            last = [line for line in str(error).splitlines() if line.strip()][-1]
            raise EngineError(f"{name}: training failed {placement.max_restarts + 1} times; at last: {last}") from error
    if location.exists(refusal):
        kind, message = json.loads(location.get(refusal))
        raise dict(vars(errors))[kind](message)


def _process(config: dict[str, object]) -> None:
    """What Ray Train runs in each process. An error of ours would come again in a restart, so it is not tried again."""
    import torch

    spec = config["spec"]
    refusal = location.join(spec.folder, REFUSAL)  # type: ignore[attr-defined]
    if location.exists(refusal):
        return
    if not config["use_gpu"]:
        torch.set_num_threads(int(str(config["threads"])))
    context = get_context()
    try:
        spec.run(context.get_world_rank(), context.get_world_size())  # type: ignore[attr-defined]
    except FusionError as error:
        location.put(refusal, json.dumps([type(error).__name__, str(error)]).encode())
        raise
