"""Memory: by hand for a model small enough, against what torch keeps, and what is known of the paper's models."""

from __future__ import annotations

import math

import pytest

from fusion.planning.assumptions import Gpu
from fusion.planning.memory import (
    GIB,
    Serving,
    engine_memory,
    layer_bytes,
    scorer_memory,
    smallest_tensor_parallel,
    trained_parameters,
    training_memory,
)
from fusion.planning.shapes import Shape
from fusion.step import Placement
from fusion.train.config import Execution, Lora, PreferenceConfig, SftConfig
from tests.fusion.planning.test_shapes import shape_in


def tiny(**entries: int | bool) -> Shape:
    sizes = {"layers": 2, "hidden": 256, "heads": 8, "kv_heads": 2, "head_dim": 32, "intermediate": 512, "vocab": 300}
    return Shape(**(sizes | {"context": 512} | entries))  # type: ignore[arg-type]


def serving(shape: Shape, length: float = 700.0, dtype: str = "bfloat16", weights: str = "bfloat16") -> Serving:
    return Serving(dtype, weights, shape.context, length)


def test_an_engine_shares_weights_and_cache_over_its_gpus() -> None:
    """2 layers of 2 key-value heads of 32: 512 bytes a token; each of 2 GPUs holds one head."""
    shape = tiny()
    one = engine_memory(shape, Placement(gpus=1), Gpu(memory_gib=4), serving(shape, 100))
    two = engine_memory(shape, Placement(gpus=2, tensor_parallel=2), Gpu(memory_gib=4), serving(shape, 100))
    assert (one.weights, two.weights) == (2 * shape.parameters, shape.parameters)
    assert (one.kv_longest, two.kv_longest) == (512 * 512, 256 * 512)
    assert one.used == one.weights + one.margin + 256 * 512 * 100
    assert one.kv_room == pytest.approx(0.9 * 4 * GIB - one.weights - one.margin)


def test_beyond_the_key_value_heads_the_cache_is_copied() -> None:
    shape = tiny()
    wide = engine_memory(shape, Placement(gpus=8, tensor_parallel=8), Gpu(), serving(shape))
    assert wide.kv_longest == 256 * 512


def test_a_pipeline_halves_cache_and_weights() -> None:
    shape = tiny()
    placement = Placement(gpus=2, pipeline_parallel=2)
    memory = engine_memory(shape, placement, Gpu(), serving(shape))
    assert (memory.weights, memory.kv_longest) == (shape.parameters, 256 * 512)


def test_an_engine_that_cannot_hold_one_longest_sequence_does_not_fit() -> None:
    """vLLM refuses to start then, however many short ones there is room for."""
    shape = tiny(context=10**7)
    memory = engine_memory(shape, Placement(gpus=1), Gpu(memory_gib=4), serving(shape))
    assert memory.sequences > 0
    assert not memory.fits


@pytest.mark.parametrize(
    ("name", "gpus"),
    [
        ("source/gemma2_27b", 1),
        ("source/qwen25_72b", 4),
        ("source/llama31_70b", 4),
        ("source/mistral_large_2407", 4),
        ("target/llama31_8b", 1),
    ],
)
def test_the_fewest_gpus_of_80_gb(name: str, gpus: int) -> None:
    shape = shape_in(name)
    assert smallest_tensor_parallel(shape, Gpu(), serving(shape)) == gpus


def test_eight_bits_take_half_the_gpus_and_a_small_gpu_none() -> None:
    shape = shape_in("source/qwen25_72b")
    assert smallest_tensor_parallel(shape, Gpu(), serving(shape, weights="fp8")) == 2
    assert smallest_tensor_parallel(shape, Gpu(memory_gib=16), serving(shape)) is None
    assert (
        smallest_tensor_parallel(shape_in("target/qwen25_7b"), Gpu(memory_gib=8), Serving(*("bfloat16",) * 2, 99, 9))
        == 4
    )


def test_zero_shares_out_what_its_stage_says() -> None:
    """Per weight: 2 bytes of weights, 2 of gradients, 12 of optimiser; of eight processes."""
    shape = tiny()
    at = {stage: training_memory(shape, SftConfig(execution=Execution(zero_stage=stage)), 8, 1) for stage in (0, 2, 3)}
    assert at[0] - at[2] == pytest.approx(shape.parameters * (12 + 2) * 7 / 8)
    assert at[2] - at[3] == pytest.approx(shape.parameters * 2 * 7 / 8)


def test_pairs_and_long_rows_cost_activations_and_checkpointing_saves_them() -> None:
    shape = shape_in("target/llama31_8b")
    sft = training_memory(shape, SftConfig(), 8, 1)
    assert training_memory(shape, PreferenceConfig(), 8, 2) - sft == 32 * 8 * 2048 * layer_bytes(shape, 2)
    saved = SftConfig(execution=Execution(gradient_checkpointing=True))
    assert training_memory(shape, saved, 8, 1) < 79.6 * GIB < sft


def test_adapters_alone_are_trained() -> None:
    shape = shape_in("target/llama31_8b")
    lora = SftConfig(lora=Lora(rank=16))
    assert trained_parameters(shape, SftConfig()) == shape.parameters
    assert trained_parameters(shape, lora) == 41_943_040  # what PEFT counts for all-linear at rank 16
    assert training_memory(shape, lora, 1, 1) < training_memory(shape, SftConfig(), 1, 1) - 13 * shape.parameters


def test_a_scorer_holds_its_weights_and_little_else() -> None:
    shape = shape_in("target/llama31_8b")
    bf16, fp32 = scorer_memory(shape, "bfloat16", 8192), scorer_memory(shape, "float32", 8192)
    assert 15 * GIB < bf16 < 19 * GIB
    assert math.isclose(fp32 - bf16, 2 * shape.parameters, rel_tol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "qwen2", "gemma2", "gemma3_text"])
def test_a_layer_keeps_as_many_bytes_as_torch_does(kind: str) -> None:
    """Storages that autograd keeps: a model of four layers less one of two, on a CPU, where attention is fused too."""
    T = 256
    is_gemma = kind.startswith("gemma")
    shape = tiny(norms_per_layer=4 if is_gemma else 2, qk_norm=kind == "gemma3_text")
    a_layer = (_kept_bytes(kind, 4, T) - _kept_bytes(kind, 2, T)) / 2 / T
    assert layer_bytes(shape, 2) == pytest.approx(a_layer, rel=0.01)


def _kept_bytes(kind: str, layers: int, num_tokens: int) -> int:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        kind,
        num_hidden_layers=layers,
        hidden_size=256,
        num_attention_heads=8,
        num_key_value_heads=2,
        head_dim=32,
        intermediate_size=512,
        vocab_size=300,
        tie_word_embeddings=True,
        max_position_embeddings=512,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa").train()
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model(input_ids=torch.zeros((1, num_tokens), dtype=torch.long), use_cache=False).logits
    assert logits.requires_grad
    return sum(t.untyped_storage().nbytes() for pointer, t in kept.items() if pointer not in weights)
