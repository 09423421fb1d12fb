"""GPU time and disk, against figures worked out by hand and those known of such work."""

from __future__ import annotations

import pytest

from fusion.planning import disk
from fusion.planning.assumptions import Gpu
from fusion.planning.gpu_time import decode_tokens_per_s, forward_s, generation_s, training_s
from fusion.planning.memory import Serving, engine_memory
from fusion.planning.tokens import Load
from fusion.step import Placement
from fusion.train.config import Execution, Lora, SftConfig
from tests.fusion.planning.test_shapes import shape_in

IDEAL = Gpu(bf16_tflops=1.0, bandwidth_gb_s=1.0, compute_frac=1.0, bandwidth_frac=1.0, step_ms=0.0, memory_gib=1000)
"""10^12 products and 10^9 bytes a second."""


def test_a_token_passes_all_weights_but_the_embedding() -> None:
    shape = shape_in("target/llama31_8b")
    assert shape.active_parameters == 8_030_261_248 - 128_256 * 4096
    tied = shape_in("target/llama32_1b")
    assert tied.active_parameters == tied.parameters


def test_decoding_reads_the_weights_once_a_step() -> None:
    """One answer at a time, of 20 tokens, 10 of which stand on average; 32,768 bytes of cache a token."""
    shape = shape_in("target/llama32_1b")
    placement, serving = Placement(gpus=1, max_sequences=1), Serving("bfloat16", "bfloat16", 100, 20.0)
    memory = engine_memory(shape, placement, IDEAL, serving)
    step_s = (2 * shape.parameters + 10 * 32_768) / 1e9 + 2 * shape.parameters / 1e12
    assert decode_tokens_per_s(shape, memory, placement, IDEAL, serving) == pytest.approx(1 / step_s)


def test_more_at_a_time_is_faster_and_more_gpus_are_faster() -> None:
    shape = shape_in("source/llama31_70b")
    serving = Serving("bfloat16", "bfloat16", 4096, 700.0)
    speeds = []
    for gpus, sequences in ((4, 1), (4, 32), (4, 256), (8, 256)):
        placement = Placement(gpus=gpus, tensor_parallel=gpus, max_sequences=sequences)
        memory = engine_memory(shape, placement, Gpu(), serving)
        speeds.append(decode_tokens_per_s(shape, memory, placement, Gpu(), serving))
    assert speeds == sorted(speeds)
    assert 3_000 < speeds[2] < 7_000  # between plain and tuned engines


def test_every_gpu_of_an_engine_counts() -> None:
    shape = shape_in("source/llama31_70b")
    placement = Placement(gpus=4, tensor_parallel=4)
    load = Load(rows=10, read=1e6, written=1e6)
    seconds = generation_s(load, shape, placement, IDEAL, dtype="bfloat16", tokens_per_s=1000)
    assert seconds == pytest.approx(4 * 1000 + 2 * shape.active_parameters * 1e6 / 1e12)


def test_scoring_two_million_answers_takes_tens_of_gpu_hours_and_far_more_in_fp32() -> None:
    shape = shape_in("target/llama31_8b")
    hours = {dtype: forward_s(2.4e6 * 700, shape, Gpu(), dtype) / 3600 for dtype in ("bfloat16", "float32")}
    assert 10 < hours["bfloat16"] < 40
    assert hours["float32"] / hours["bfloat16"] == pytest.approx(989 / 67)


def test_training_is_six_products_a_weight_and_token_and_eight_with_checkpointing() -> None:
    shape = shape_in("target/llama32_1b")
    plain = training_s(1e6, shape, IDEAL, dtype="bfloat16", checkpointing=False)
    assert plain == pytest.approx(6 * shape.parameters * 1e6 / 1e12)
    assert training_s(1e6, shape, IDEAL, dtype="bfloat16", checkpointing=True) == pytest.approx(plain * 8 / 6)


def test_a_checkpoint_is_the_weights_and_what_it_takes_to_resume() -> None:
    shape = shape_in("target/llama32_1b")
    P = shape.parameters
    assert disk.checkpoint_bytes(shape, SftConfig()) == 2 * P + 14 * P
    assert disk.checkpoint_bytes(shape, SftConfig(execution=Execution(keep_last=2))) == 2 * P + 2 * 14 * P
    assert disk.checkpoint_bytes(shape, SftConfig(execution=Execution(save_every_steps=0))) == 2 * P
    assert disk.checkpoint_bytes(shape, SftConfig(lora=Lora(rank=16))) < 4.2 * P


def test_text_takes_less_than_it_is_long() -> None:
    assert disk.table_bytes(1000, 1000 * 500) == 1000 * 60 + 500_000 * 1.8
