"""Which sources run side by side and which in turn on the GPUs at hand.

A source may be laid out in many ways; more GPUs are faster, but not in proportion, because loading does not shrink.
For a wanted end T each source takes the fewest GPUs with which it alone would end by T, and these are packed, longest
first, each where it can start soonest. The T whose packing ends first wins, against all sources in turn on all GPUs.
This is the two-shelf method for malleable jobs, without its bound: with ten sources all T are tried in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fusion.errors import ConfigError
from fusion.planning.assumptions import Assumptions
from fusion.planning.memory import GIB, engine_memory, training_memory
from fusion.planning.options import Generation, Option, options, reason, smallest_engine
from fusion.planning.shapes import Shape
from fusion.step import Placement
from fusion.train.config import TrainingConfig

MOST_WORKERS = 1024
"""Training processes looked at."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One source's place in the plan."""

    name: str
    option: Option
    start_s: float
    reason: str

    @property
    def end_s(self) -> float:
        return self.start_s + self.option.seconds

    @property
    def settings(self) -> dict[str, int]:
        """What to set in `cluster.pools.<name>`."""
        option = self.option
        return {
            "replicas": option.replicas,
            "gpus": option.engine_gpus,
            "tensor_parallel": option.tensor_parallel,
            "pipeline_parallel": option.pipeline_parallel,
        }


@dataclass(frozen=True, slots=True)
class PlacementPlan:
    """Slots by start; what the best order in turn would take, and why this one was taken."""

    slots: tuple[Slot, ...]
    gpus: int
    in_turn_s: float
    reason: str

    @property
    def seconds(self) -> float:
        return max((slot.end_s for slot in self.slots), default=0.0)

    @property
    def most_gpus(self) -> int:
        """That are in use at one time."""
        packed = [(slot.name, slot.option, slot.start_s) for slot in self.slots]
        return max((_used(packed, slot.start_s) for slot in self.slots), default=0)

    @property
    def idle_frac(self) -> float:
        """Share of GPU-seconds until the end in which nothing runs or an engine loads."""
        if not self.slots:
            return 0.0
        busy = sum(slot.option.work_s * slot.option.gpus for slot in self.slots)
        return 1.0 - busy / (self.seconds * self.gpus)


def place(jobs: Sequence[Generation], gpus: int, assumed: Assumptions) -> PlacementPlan:
    """The plan that ends first.

    Raises:
        ConfigError: a source does not fit on `gpus`; says the smallest cluster on which all do.
    """
    laid = {job.name: options(job, gpus, assumed) for job in jobs}
    if lacking := [job for job in jobs if not laid[job.name]]:
        raise ConfigError(_refusal(lacking, jobs, gpus, assumed))
    by_name = {job.name: job for job in jobs}
    fastest = {name: one[-1] for name, one in laid.items()}
    in_turn = _in_turn(fastest)
    best = in_turn
    for target in sorted({option.seconds for one in laid.values() for option in one}):
        chosen = {name: _by(one, target) for name, one in laid.items()}
        if _bound(chosen.values(), gpus) >= _end(best) * 0.999:
            continue
        packed = _packed(chosen, gpus)
        if _end(packed) < _end(best) * 0.999:
            best = packed
    slots = tuple(
        Slot(name, option, start, reason(by_name[name], option))
        for name, option, start in sorted(best, key=lambda one: (one[2], -one[1].seconds, one[0]))
    )
    return PlacementPlan(slots, gpus, _end(in_turn), _why(best, in_turn))


def smallest_training(shape: Shape, train: TrainingConfig, num_roles: int, assumed: Assumptions) -> int | None:
    """The fewest training processes, one a GPU and a divisor of the global batch, that hold weights, optimiser and
    activations; None: no number does."""
    for workers in range(1, min(MOST_WORKERS, train.global_batch_size) + 1):
        if train.global_batch_size % workers:
            continue
        if training_memory(shape, train, workers, num_roles) <= assumed.gpu.memory_gib * GIB:
            return workers
    return None


# -- packing ---------------------------------------------------------------------------------------------------------

_Packed = list[tuple[str, Option, float]]


def _in_turn(fastest: Mapping[str, Option]) -> _Packed:
    packed: _Packed = []
    start = 0.0
    for name, option in sorted(fastest.items(), key=lambda one: (-one[1].seconds, one[0])):
        packed.append((name, option, start))
        start += option.seconds
    return packed


def _by(laid: Sequence[Option], target: float) -> Option:
    """The fewest GPUs that end by the target, or the fastest if none does."""
    return next((option for option in laid if option.seconds <= target), laid[-1])


def _packed(chosen: Mapping[str, Option], gpus: int) -> _Packed:
    """Longest first, each at the first moment at which its GPUs are free until its end."""
    packed: _Packed = []
    for name, option in sorted(chosen.items(), key=lambda one: (-one[1].seconds, one[0])):
        moments = sorted({0.0, *(start + other.seconds for _, other, start in packed)})
        start = next(moment for moment in moments if _fits(packed, option, moment, gpus))
        packed.append((name, option, start))
    return packed


def _bound(chosen: Iterable[Option], gpus: int) -> float:
    """No packing of these ends sooner: the longest of them, and all GPU-seconds shared out without a gap."""
    every = list(chosen)
    return max(max(one.seconds for one in every), sum(one.seconds * one.gpus for one in every) / gpus)


def _fits(packed: _Packed, option: Option, start: float, gpus: int) -> bool:
    """Usage only grows where something starts, so those moments are looked at."""
    end = start + option.seconds
    moments = [start, *(other for _, _, other in packed if start < other < end)]
    return all(_used(packed, moment) + option.gpus <= gpus for moment in moments)


def _used(packed: _Packed, moment: float) -> int:
    return sum(option.gpus for _, option, start in packed if start <= moment < start + option.seconds)


def _end(packed: _Packed) -> float:
    return max((start + option.seconds for _, option, start in packed), default=0.0)


# -- words -----------------------------------------------------------------------------------------------------------


def _why(best: _Packed, in_turn: _Packed) -> str:
    if len(best) < 2:
        return "there is one source"
    loading = [sum(option.load_s * option.gpus for _, option, _ in packed) / 3600 for packed in (best, in_turn)]
    if best is in_turn:
        return f"in turn, each on all GPUs: side by side nothing ends sooner than {_hours(_end(in_turn))}"
    return (
        f"side by side: {_hours(_end(best))} against {_hours(_end(in_turn))} in turn; loading engines takes "
        f"{loading[0]:.1f} GPU-hours against {loading[1]:.1f}"
    )


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def _refusal(lacking: Sequence[Generation], jobs: Sequence[Generation], gpus: int, assumed: Assumptions) -> str:
    if fixed := [job for job in lacking if job.fixed]:
        return "; ".join(_pool_refusal(job, gpus, assumed) for job in fixed)
    lines = []
    for job in lacking:
        weights = job.shape.weight_bytes(job.serving.weights_dtype) / GIB
        lines.append(
            f"{job.name} ({job.shape.parameters / 1e9:.1f}B, {weights:.0f} GiB in {job.serving.weights_dtype}) needs "
            f"{_needed(job, assumed)}"
        )
    engines = [smallest_engine(job, assumed) for job in jobs]
    what = "; ".join(lines)
    if not all(engines):
        return f"{what}; quantise it (generator.quantization=fp8), or shorten generator.max_model_len"
    most = max(tensor * pipeline for tensor, pipeline in engines if tensor)  # type: ignore[misc]
    nodes = -(-most // assumed.gpus_per_node)
    size = f"{nodes} nodes of {assumed.gpus_per_node}" if nodes > 1 else f"one node with {most}"
    return (
        f"{what}, and cluster.capacity.gpus is {gpus}. The smallest cluster for all sources is {size} "
        f"{assumed.gpu.name}: set cluster.capacity.gpus={most}, leave the source out, or quantise it"
    )


def _pool_refusal(job: Generation, gpus: int, assumed: Assumptions) -> str:
    pool = job.placement
    engine = pool.tensor_parallel * pool.pipeline_parallel
    return (
        f"cluster.pools.{job.name} asks for {pool.replicas} x {engine} GPUs of {gpus} (cluster.capacity.gpus), and "
        f"{job.name} needs {_needed(job, assumed)} an engine; change the pool, or set it to null: the plan then lays it"
    )


def _needed(job: Generation, assumed: Assumptions) -> str:
    smallest = smallest_engine(job, assumed)
    if smallest is None:
        widest = Placement(gpus=assumed.gpus_per_node, tensor_parallel=assumed.gpus_per_node)
        short = -engine_memory(job.shape, widest, assumed.gpu, job.serving).kv_room / GIB
        return f"more than {assumed.gpus_per_node} x 16 GPUs; on one node {short:.0f} GiB a GPU are lacking"
    tensor, pipeline = smallest
    nodes = f" over {pipeline} nodes" if pipeline > 1 else ""
    return f"{tensor * pipeline} GPUs{nodes}"
