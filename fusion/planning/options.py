"""How an engine may be laid over GPUs: every layout that holds the model, how long it takes to load and to answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fusion.planning import gpu_time, memory
from fusion.planning.assumptions import Assumptions
from fusion.planning.memory import GIB, EngineMemory, Serving
from fusion.planning.shapes import Shape
from fusion.planning.tokens import Load
from fusion.step import Placement

MOST_STAGES = 16
"""Pipeline stages looked at; more would serve a model of two trillion weights."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What one engine has to answer."""

    name: str
    """Of the source."""
    shape: Shape
    serving: Serving
    load: Load
    placement: Placement
    """As configured; of it only what does not concern layout is used."""
    tokens_per_s: float | None = None
    """Measured, of one engine; None: estimated."""


@dataclass(frozen=True, slots=True)
class Option:
    """One layout of one source."""

    tensor_parallel: int
    pipeline_parallel: int
    replicas: int
    load_s: float
    """Until its engines answer."""
    work_s: float
    memory: EngineMemory

    @property
    def engine_gpus(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def gpus(self) -> int:
        return self.engine_gpus * self.replicas

    @property
    def seconds(self) -> float:
        return self.load_s + self.work_s


def options(job: Generation, gpus: int, assumed: Assumptions) -> list[Option]:
    """Layouts within `gpus`, fewest GPUs first; each is faster than all before it. Empty: none holds the model."""
    found: list[Option] = []
    for tensor, pipeline in layouts(job.shape, gpus, assumed.gpus_per_node):
        engine = tensor * pipeline
        placement = _placement(job.placement, tensor, pipeline)
        need = memory.engine_memory(job.shape, placement, assumed.gpu, job.serving)
        if not need.fits:
            continue
        speed = job.tokens_per_s or gpu_time.decode_tokens_per_s(job.shape, need, placement, assumed.gpu, job.serving)
        total_s = gpu_time.generation_s(
            job.load, job.shape, placement, assumed.gpu, dtype=job.serving.dtype, tokens_per_s=speed
        )
        load = load_s(job.shape, job.serving, assumed)
        found += [
            Option(tensor, pipeline, replicas, load, total_s / (engine * replicas), need)
            for replicas in range(1, gpus // engine + 1)
        ]
    best: list[Option] = []
    for option in sorted(found, key=lambda one: (one.gpus, one.seconds)):
        if not best or option.seconds < best[-1].seconds:
            best.append(option)
    return best


def smallest_engine(job: Generation, assumed: Assumptions) -> tuple[int, int] | None:
    """(tensor_parallel, pipeline_parallel) of the fewest GPUs that hold the model, over as many nodes as it takes."""
    most = assumed.gpus_per_node * MOST_STAGES
    for tensor, pipeline in sorted(layouts(job.shape, most, assumed.gpus_per_node), key=lambda one: one[0] * one[1]):
        placement = _placement(job.placement, tensor, pipeline)
        if memory.engine_memory(job.shape, placement, assumed.gpu, job.serving).fits:
            return tensor, pipeline
    return None


def layouts(shape: Shape, gpus: int, gpus_per_node: int) -> Iterator[tuple[int, int]]:
    """Tensor parallel within a node, over a power of 2 that divides the heads; pipeline stages over nodes, where the
    widest of those is not enough: a stage waits for the one before it, a tensor-parallel GPU does not."""
    widths = [n for n in (1, 2, 4, 8, 16) if n <= min(gpus, gpus_per_node) and shape.heads % n == 0]
    for tensor in widths:
        yield tensor, 1
    for pipeline in range(2, min(MOST_STAGES, shape.layers) + 1):
        if widths and widths[-1] * pipeline <= gpus:
            yield widths[-1], pipeline


def load_s(shape: Shape, serving: Serving, assumed: Assumptions) -> float:
    """start + weights / bandwidth; replicas load at the same time."""
    return assumed.engine_start_s + shape.weight_bytes(serving.weights_dtype) / (assumed.load_gb_s * 1e9)


def reason(job: Generation, option: Option) -> str:
    """`70.6B weights in bfloat16: 33 GiB on each of 4 GPUs, and room for 256 answers`"""
    each = option.memory.weights / GIB
    spread = "on one GPU" if option.engine_gpus == 1 else f"on each of {option.engine_gpus} GPUs"
    stages = f" in {option.pipeline_parallel} stages" if option.pipeline_parallel > 1 else ""
    return (
        f"{job.shape.parameters / 1e9:.1f}B weights in {job.serving.weights_dtype}: {each:.0f} GiB {spread}{stages}, "
        f"and room for {option.memory.sequences} answers"
    )


def _placement(configured: Placement, tensor: int, pipeline: int) -> Placement:
    return Placement(
        gpus=tensor * pipeline,
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
        gpu_memory_frac=configured.gpu_memory_frac,
        max_sequences=configured.max_sequences,
    )
