"""Layouts and placements: published shapes on real GPUs, never more GPUs than there are, refusals with a remedy."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from pathlib import Path

import pytest

from fusion.config import composed, typed
from fusion.errors import ConfigError
from fusion.planning.assumptions import Assumptions
from fusion.planning.memory import Serving
from fusion.planning.options import Generation, options, smallest_engine
from fusion.planning.placement import PlacementPlan, place, smallest_training
from fusion.planning.placement_table import placement_table
from fusion.planning.shapes import Shape
from fusion.planning.tokens import Load
from fusion.step import Placement
from fusion.train.config import Dtype, Execution, SftConfig
from tests.fusion.planning.test_shapes import shape_in

OVERRIDES = ["experiment=quickstart", "cluster=one_gpu_node"]
OVERRIDES += ["train.sft.global_batch_size=8", "train.preference.global_batch_size=8"]
LLAMA_405B = Shape(
    layers=126, hidden=16384, heads=128, kv_heads=8, head_dim=128, intermediate=53248, vocab=128256, context=131072
)
"""As published: 405,853,388,800 weights."""


def job(name: str, shape: Shape, answers: int = 100_000, dtype: str = "bfloat16", context: int = 8192) -> Generation:
    serving = Serving("bfloat16", dtype, context, 700.0)
    return Generation(name, shape, serving, Load(answers, answers * 40.0, answers * 500.0), Placement(gpus=1))


def laid(plan: PlacementPlan) -> dict[str, tuple[int, int, int]]:
    """name -> tensor parallel, pipeline parallel, replicas"""
    return {
        slot.name: (slot.option.tensor_parallel, slot.option.pipeline_parallel, slot.option.replicas)
        for slot in plan.slots
    }


def most_used(plan: PlacementPlan) -> int:
    starts = [slot.start_s for slot in plan.slots]
    return max(sum(s.option.gpus for s in plan.slots if s.start_s <= now < s.end_s) for now in starts)


@pytest.mark.parametrize(
    ("name", "dtype", "expected"),
    [
        # GPUs of 80 GB at 0.9: 71.6 GiB. Whether many answers fit beside is another matter; see the next tests.
        ("source/gemma2_27b", "bfloat16", (1, 1)),  # 51 GiB
        ("source/llama31_70b", "bfloat16", (2, 1)),  # 131 GiB: 2.7 GiB a GPU are left
        ("source/qwen25_72b", "bfloat16", (4, 1)),  # 135 GiB
        ("source/mistral_large_2407", "bfloat16", (4, 1)),  # 228 GiB
        ("source/llama31_70b", "fp8", (2, 1)),  # 66 GiB
        ("target/llama31_8b", "bfloat16", (1, 1)),
    ],
)
def test_the_smallest_engine_of_a_published_model(name: str, dtype: str, expected: tuple[int, int]) -> None:
    assert smallest_engine(job("a", shape_in(name), dtype=dtype), Assumptions()) == expected


def test_405b_goes_over_two_nodes_in_stages() -> None:
    assert LLAMA_405B.parameters == 405_853_388_800
    assert smallest_engine(job("a", LLAMA_405B), Assumptions()) == (8, 2)
    plan = place([job("a", LLAMA_405B)], 16, Assumptions())
    assert laid(plan) == {"a": (8, 2, 1)}
    assert "47 GiB on each of 16 GPUs in 2 stages" in plan.slots[0].reason


def test_123b_takes_all_of_a_node_of_eight() -> None:
    """Four would hold it; eight GPUs leave room for more answers than two engines of four have together."""
    plan = place([job("a", shape_in("source/mistral_large_2407"))], 8, Assumptions())
    assert laid(plan) == {"a": (8, 1, 1)}


def test_tensor_parallel_divides_the_heads() -> None:
    shape = Shape(layers=2, hidden=576, heads=6, kv_heads=3, head_dim=64, intermediate=1536, vocab=49152, context=8192)
    widths = {option.tensor_parallel for option in options(job("a", shape), 8, Assumptions())}
    assert widths <= {1, 2}


def test_more_gpus_are_only_offered_where_they_are_faster() -> None:
    found = options(job("a", shape_in("source/llama31_70b")), 32, Assumptions())
    assert [one.gpus for one in found] == sorted({one.gpus for one in found})
    assert [one.seconds for one in found] == sorted({one.seconds for one in found}, reverse=True)


def test_short_work_runs_side_by_side_because_loading_does_not_shrink() -> None:
    shape = shape_in("source/llama31_70b")
    plan = place([job("a", shape, 500), job("b", shape, 500)], 8, Assumptions())
    assert {slot.start_s for slot in plan.slots} == {0.0}
    assert laid(plan) == {"a": (4, 1, 1), "b": (4, 1, 1)}
    assert plan.seconds < 0.7 * plan.in_turn_s
    assert plan.reason.startswith("side by side")


def test_long_work_of_one_size_runs_in_turn_or_no_worse() -> None:
    jobs = [job(name, shape_in("source/mistral_large_2407"), 10**6) for name in ("a", "b")]
    plan = place(jobs, 8, Assumptions())
    assert [slot.start_s > 0 for slot in plan.slots] == [False, True]
    assert "in turn" in plan.reason


def test_small_sources_share_what_a_large_one_has_alone() -> None:
    """123B on all 12 GPUs is not slowed down by loading; two of 8B load twice where they run in turn."""
    jobs = [job("large", shape_in("source/mistral_large_2407"), 50_000)]
    jobs += [job(name, shape_in("target/llama31_8b"), 50_000) for name in ("small", "tiny")]
    plan = place(jobs, 12, Assumptions())
    starts = {slot.name: slot.start_s for slot in plan.slots}
    assert starts["small"] == starts["tiny"] > starts["large"] == 0
    assert plan.seconds < plan.in_turn_s


@pytest.mark.parametrize("seed", range(20))
def test_no_plan_takes_more_gpus_than_there_are_or_ends_later_than_in_turn(seed: int) -> None:
    rng = random.Random(seed)
    shapes = ["source/gemma2_27b", "source/llama31_70b", "source/mistral_large_2407", "target/llama32_1b"]
    jobs = [
        job(f"s{n}", shape_in(rng.choice(shapes)), rng.choice([100, 10**4, 10**6])) for n in range(rng.randint(1, 7))
    ]
    gpus = rng.choice([4, 8, 12, 16, 64])
    plan = place(jobs, gpus, Assumptions())
    assert sorted(slot.name for slot in plan.slots) == sorted(one.name for one in jobs)
    assert most_used(plan) <= gpus
    assert plan.seconds <= plan.in_turn_s * 1.0000001
    assert 0 <= plan.idle_frac < 1


def test_a_source_that_does_not_fit_is_refused_with_the_smallest_cluster() -> None:
    jobs = [job("big", shape_in("source/mistral_large_2407")), job("small", shape_in("target/llama31_8b"))]
    with pytest.raises(ConfigError, match=r"big \(122.6B, 228 GiB in bfloat16\) needs 4 GPUs") as error:
        place(jobs, 2, Assumptions())
    assert "small (" not in str(error.value)
    assert "cluster.capacity.gpus=4" in str(error.value)
    with pytest.raises(ConfigError, match="over 2 nodes.*smallest cluster for all sources is 2 nodes of 8"):
        place([job("huge", LLAMA_405B)], 8, Assumptions())


def test_nodes_of_two_gpus_make_stages() -> None:
    assumed = Assumptions(gpus_per_node=2)
    assert smallest_engine(job("a", shape_in("source/qwen25_72b")), assumed) == (2, 2)


def test_measured_speed_wins_over_the_estimate() -> None:
    shape = shape_in("target/llama31_8b")
    slow = Generation("a", shape, Serving("bfloat16", "bfloat16", 8192, 700), Load(1000, 0, 10**6), Placement(), 100.0)
    assert options(slow, 1, Assumptions())[0].work_s == pytest.approx(10_000)


def test_a_speed_that_was_measured_on_one_layout_is_not_that_of_another() -> None:
    """An engine of four GPUs was seen to be half as fast as estimated: so are all others, none faster or slower."""
    shape, load = shape_in("source/qwen25_72b"), Load(10**5, 0, 5 * 10**7)
    serving, four = Serving("bfloat16", "bfloat16", 8192, 700), Placement(gpus=4, tensor_parallel=4)
    guess = Generation("a", shape, serving, load, four)
    (at_four,) = [one for one in options(guess, 8, Assumptions()) if (one.tensor_parallel, one.replicas) == (4, 1)]
    seen = replace(guess, tokens_per_s=load.written / at_four.work_s / 2)
    for slow, fast in zip(options(seen, 8, Assumptions()), options(guess, 8, Assumptions()), strict=True):
        assert slow.work_s == pytest.approx(2 * fast.work_s)


def test_an_8b_target_needs_zero_3_or_many_gpus() -> None:
    """16 bytes a weight are 120 GiB: no single GPU, and no number of them without sharing anything out."""
    shape = shape_in("target/llama31_8b")

    def fewest(stage: int) -> int | None:
        execution = Execution(zero_stage=stage, gradient_checkpointing=True, micro_batch_size=1)
        train = SftConfig(global_batch_size=128, max_length=2048, dtype=Dtype.BFLOAT16, execution=execution)
        return smallest_training(shape, train, 1, Assumptions())

    assert (fewest(0), fewest(2), fewest(3)) == (None, 2, 2)


def test_what_is_printed_composes_to_the_plan(tmp_path: Path) -> None:
    from rich.console import Console

    plan = place([job("qwen25_72b", shape_in("source/qwen25_72b"))], 8, Assumptions())
    config = typed(composed(OVERRIDES))
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(placement_table(plan, lambda name: config.cluster.placement("responses", name)))
    lines = [line.rstrip() for line in console.export_text().splitlines()]
    (tmp_path / "cluster").mkdir()
    text = "\n".join(["defaults: [one_gpu_node, _self_]", *lines[lines.index("pools:") :]])
    (tmp_path / "cluster" / "mine.yaml").write_text(text)
    taken = typed(composed([*OVERRIDES, "cluster=mine"], str(tmp_path))).cluster.placement("responses", "qwen25_72b")
    assert (taken.replicas, taken.gpus, taken.tensor_parallel) == (2, 4, 4)
    assert (taken.cpus, taken.in_flight) == (8, 64), "what was set of the pool stays"
