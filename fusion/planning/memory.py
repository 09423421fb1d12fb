"""Memory of one GPU while a model answers, scores or trains, in bytes.

Estimates of what must fit, not of what the allocator will show: an engine takes all that its placement gives it and
spends the rest on KV cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from fusion.planning.assumptions import Gpu
from fusion.planning.shapes import Shape, bytes_of
from fusion.step import Placement
from fusion.train.config import Dtype, TrainingConfig

GIB = 2**30
CONTEXT_BYTES = 1.5 * GIB
"""CUDA context, NCCL buffers, graphs: what a process holds before it does anything. A guess."""
PREFILL_TOKENS = 16384
"""Most tokens that vLLM 0.32 puts through the model at once on GPUs of 70 GiB and more."""
SAMPLER_COPIES = 3
"""Times the sampler holds the logits of all sequences in fp32: as they are, sorted, and as probabilities."""
BUCKET_BYTES = 4 * 50_000_000
"""DeepSpeed's buckets: 50 million gradients (`fusion.train.arguments`), going out while the next one fills."""


@dataclass(frozen=True, slots=True)
class EngineMemory:
    """Of one GPU of an engine, in bytes."""

    weights: float
    margin: float
    """Activations of a prefill batch, logits, context."""
    kv_room: float
    """What is left for KV cache; negative: the weights alone do not fit."""
    kv_longest: float
    """KV cache of one sequence of the model's whole context, without which vLLM does not start."""
    sequences: int
    """Answers of mean length that the room holds, at most `max_sequences`."""
    used: float
    """weights + margin + KV cache of those sequences."""

    @property
    def fits(self) -> bool:
        return self.kv_room >= max(self.kv_longest, 1) and self.sequences > 0


@dataclass(frozen=True, slots=True)
class Serving:
    """What an engine serves, and in which numbers."""

    dtype: str
    """Of activations and KV cache."""
    weights_dtype: str
    context: int
    """Longest sequence."""
    length: float
    """Mean of a prompt with its answer, in tokens."""


def engine_memory(shape: Shape, placement: Placement, gpu: Gpu, serving: Serving) -> EngineMemory:
    """An engine over t = tensor_parallel and p = pipeline_parallel GPUs:

    weights  P · bytes / (t·p)
    KV       kv_bytes(length) · max(1/t, 1/K) / p       (K key-value heads: beyond K GPUs they are copied)
    margin   prefill tokens · (2·H + (A·d + 2·K·d + 2·I)/t) · bytes + sequences · V · 4 · 3 / t + context
    room     gpu_memory_frac · memory - weights - margin
    """
    tp, gpus = placement.tensor_parallel, placement.tensor_parallel * placement.pipeline_parallel
    weights = shape.weight_bytes(serving.weights_dtype) / gpus
    width = 2 * shape.hidden + (shape.q_width + shape.kv_width + 2 * shape.mlp_width) / tp
    logits = placement.max_sequences * shape.vocab * 4 * SAMPLER_COPIES / tp
    margin = PREFILL_TOKENS * width * bytes_of(serving.dtype) + logits + CONTEXT_BYTES
    room = placement.gpu_memory_frac * gpu.memory_gib * GIB - weights - margin
    share = max(1 / tp, 1 / shape.kv_parts) / placement.pipeline_parallel
    one = shape.kv_bytes(max(1, round(serving.length)), serving.dtype) * share
    sequences = max(0, min(placement.max_sequences, int(room / one)))
    longest = shape.kv_bytes(serving.context, serving.dtype) * share
    return EngineMemory(weights, margin, room, longest, sequences, weights + margin + sequences * one)


def smallest_tensor_parallel(shape: Shape, gpu: Gpu, serving: Serving, gpus_per_node: int = 8) -> int | None:
    """The fewest GPUs of a node (a power of 2 that divides the heads) that hold an engine; None: not one node."""
    for tp in (1, 2, 4, 8, 16):
        placement = Placement(gpus=tp, tensor_parallel=tp)
        if tp <= gpus_per_node and shape.heads % tp == 0 and engine_memory(shape, placement, gpu, serving).fits:
            return tp
    return None


def scorer_memory(shape: Shape, dtype: str, token_budget: int) -> float:
    """A model that reads and does not write: P · bytes + activations of one layer for a batch + context."""
    return shape.weight_bytes(dtype) + token_budget * layer_bytes(shape, bytes_of(dtype)) + CONTEXT_BYTES


def training_memory(shape: Shape, train: TrainingConfig, world_size: int, num_roles: int) -> float:
    """One of n processes; P weights, of which Q are trained (all, or the adapters'), T tokens of a forward pass.

        weights     2·P        / n from stage 3
        gradients   2·Q        / n from stage 2
        optimiser   12·Q / n   fp32 weights and two moments (8·Q where training is in fp32 itself)
        activations L layers · T · bytes a layer; with checkpointing L · T · 2·H, and one layer's beside
        and buckets and context

    The logits do not count: the fused head never holds those of the whole vocabulary.
    """
    size = bytes_of(train.dtype.value)
    stage, trained = train.execution.zero_stage, trained_parameters(shape, train)
    weights = size * shape.parameters / (world_size if stage == 3 else 1)
    gradients = size * trained / (world_size if stage >= 2 else 1)
    optimiser = (8 if train.dtype is Dtype.FLOAT32 else 12) * trained / (world_size if stage >= 1 else 1)
    tokens = train.micro_batch(world_size) * num_roles * train.max_length
    layer = tokens * layer_bytes(shape, size)
    if train.execution.gradient_checkpointing:
        activations = shape.layers * tokens * size * shape.hidden + layer
    else:
        activations = shape.layers * layer
    return weights + gradients + optimiser + activations + BUCKET_BYTES + CONTEXT_BYTES


def trained_parameters(shape: Shape, train: TrainingConfig) -> int:
    """All weights, or those of the adapters: rank · (inputs + outputs) of each linear layer of the decoder."""
    if not train.lora.rank:
        return shape.parameters
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    sides = 2 * (shape.hidden + q) + 2 * (shape.hidden + kv) + 3 * (shape.hidden + shape.intermediate)
    return shape.layers * train.lora.rank * sides


def layer_bytes(shape: Shape, size: int) -> int:
    """Activations that one layer keeps for one token, as transformers computes it, with fused attention.

    MLP: gate, its activation, up and their product (4·I). Attention: queries and what it gives (2·A·d), keys and values
    (2·K·d). The inputs of both blocks (2·H). Each norm: its input in fp32 and the normalised one, in fp32 too in Gemma.
    """
    norms = shape.norms_per_layer * shape.hidden * (8 if shape.norms_per_layer > 2 else 4 + size)
    if shape.qk_norm:
        norms += 8 * (shape.q_width + shape.kv_width // 2)
    return norms + size * (4 * shape.mlp_width + 2 * shape.q_width + shape.kv_width + 2 * shape.hidden)
