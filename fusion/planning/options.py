"""How an engine may be laid over GPUs: every layout that holds the model, how long it takes to load and to answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fusion.planning import gpu_time, memory
from fusion.planning.assumptions import Assumptions, Gpu
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
    """As configured; unless `fixed`, only what does not concern layout is used of it."""
    tokens_per_s: float | None = None
    """Measured, of one engine laid as configured; None: estimated."""
    fixed: bool = False
    """Whether it is to be laid as configured, and not otherwise."""


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
    best: list[Option] = []
    for option in sorted(_all(job, gpus, assumed), key=lambda one: (one.gpus, one.seconds)):
        if not best or option.seconds < best[-1].seconds:
            best.append(option)
    return best


def _all(job: Generation, gpus: int, assumed: Assumptions) -> Iterator[Option]:
    set_so = (job.placement.tensor_parallel, job.placement.pipeline_parallel)
    load = load_s(job.shape, job.serving, assumed)
    for tensor, pipeline in [set_so] if job.fixed else layouts(job.shape, gpus, assumed.gpus_per_node):
        engine = tensor * pipeline
        placement = _placement(job.placement, tensor, pipeline)
        need = memory.engine_memory(job.shape, placement, assumed.gpu, job.serving)
        if not need.fits:
            continue
        speed = _tokens_per_s(job, placement, need, assumed.gpu)
        total_s = gpu_time.generation_s(
            job.load, job.shape, placement, assumed.gpu, dtype=job.serving.dtype, tokens_per_s=speed
        )
        for replicas in [job.placement.replicas] if job.fixed else range(1, gpus // engine + 1):
            if engine * replicas <= gpus:
                yield Option(tensor, pipeline, replicas, load, total_s / (engine * replicas), need)


def _tokens_per_s(job: Generation, placement: Placement, need: EngineMemory, gpu: Gpu) -> float:
    """Of one engine: estimated, and corrected as what was measured corrects the estimate of the configured one."""
    estimate = gpu_time.decode_tokens_per_s(job.shape, need, placement, gpu, job.serving)
    if job.tokens_per_s is None:
        return estimate
    seen = memory.engine_memory(job.shape, job.placement, gpu, job.serving)
    if not seen.fits:
        return job.tokens_per_s
    return job.tokens_per_s * estimate / gpu_time.decode_tokens_per_s(job.shape, seen, job.placement, gpu, job.serving)


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
