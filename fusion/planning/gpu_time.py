"""GPU-seconds of each kind of work, from the shape of the model and the data sheet of the GPU.

N below is the number of weights that work on a token (`Shape.active_parameters`).
"""

from __future__ import annotations

from fusion.planning.assumptions import Gpu
from fusion.planning.memory import EngineMemory, Serving
from fusion.planning.shapes import Shape
from fusion.planning.tokens import Load
from fusion.step import Placement


def decode_tokens_per_s(shape: Shape, memory: EngineMemory, placement: Placement, gpu: Gpu, serving: Serving) -> float:
    """Tokens a second of one engine over g GPUs with b answers of mean length l in its batch:

    b / (read + compute + step), as if no product overlapped with reading, which is what untuned engines come to
    read     (weights + b · KV cache of l/2) / (g · bandwidth): on average half of an answer stands; all experts are
             read, since one of so many answers needs each
    compute  2 · N · b / (g · flops)
    """
    gpus = placement.tensor_parallel * placement.pipeline_parallel
    batch = max(1, memory.sequences)
    cache = batch * shape.kv_bytes(max(1, round(serving.length / 2)), serving.dtype)
    read = (shape.weight_bytes(serving.weights_dtype) + cache) / (gpus * gpu.bytes_per_s)
    compute = 2 * shape.active_parameters * batch / (gpus * gpu.flops(serving.dtype))
    return batch / (read + compute + gpu.step_ms / 1000)


def generation_s(load: Load, shape: Shape, placement: Placement, gpu: Gpu, *, dtype: str, tokens_per_s: float) -> float:
    """GPU-seconds: g · written / tokens_per_s + prefill 2 · N · read / flops."""
    gpus = placement.tensor_parallel * placement.pipeline_parallel
    return gpus * load.written / tokens_per_s + forward_s(load.read, shape, gpu, dtype)


def forward_s(tokens: float, shape: Shape, gpu: Gpu, dtype: str) -> float:
    """GPU-seconds of reading: 2 · N · tokens / flops."""
    return 2 * shape.active_parameters * tokens / gpu.flops(dtype)


def training_s(tokens: float, shape: Shape, gpu: Gpu, *, dtype: str, checkpointing: bool) -> float:
    """GPU-seconds of training: 6 · N · tokens / flops, 8 where activations are computed again."""
    return (8 if checkpointing else 6) * shape.active_parameters * tokens / gpu.flops(dtype)
