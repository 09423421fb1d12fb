"""What committed answers say of those to come: by domain, by prompt, without those that are torn."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from fusion.artifact import Artifact, PartFolder, Receipt
from fusion.chat import ChatConfig
from fusion.cluster_config import Price
from fusion.costs.account import Pace
from fusion.generators.base import Sampling
from fusion.generators.transformers import Transformers
from fusion.models import ModelRef
from fusion.planning.measured import MOST_PARTS, measured, speed
from fusion.planning.passed_on import at_seen_pace, passed_on
from fusion.planning.remaining import costs, remaining
from fusion.planning.stage_lines import source_line, stage_line, total_line
from fusion.planning.step_forecast import StepForecast
from fusion.prompts.jsonl import Jsonl
from fusion.rewards.clean_text import CleanText
from fusion.schema import PROMPT, RESPONSE, Reason
from fusion.stages import generate, ingest
from fusion.stages.generate import GenerateConfig
from fusion.stages.generate_tasks import EARLY, spread
from fusion.stages.ingest import IngestConfig
from fusion.stages.score import ScoreConfig
from fusion.step import Placement, Step
from fusion.writer import ArtifactWriter

LENGTHS = {"easy": 20, "hard": 200}
SAMPLES = 3
STEADY = Pace(replicas=2, gpus=4, windows=tuple((1.0, 1000.0 + 10 * (i % 2)) for i in range(20)))


def answers_step(placement: Placement | None = None) -> Step:
    prompts = Step(
        kind="prompts", label="train", run=ingest.run, config=IngestConfig(prompts=Jsonl(path="p")), produces=PROMPT
    )
    config = GenerateConfig(
        source="a", model=ModelRef(uri="hf://o/m", revision="1"), chat=ChatConfig(),
        sampling=Sampling(num_samples=SAMPLES), generator=Transformers(),
    )  # fmt: skip
    return Step(
        kind="responses", label="a", run=generate.run, config=config, produces=RESPONSE, inputs={"prompts": prompts},
        placement=placement or Placement(replicas=2, gpus=4),
    )  # fmt: skip


def write_prompts(store: Path, step: Step, rows: dict[str, str]) -> Artifact:
    """prompt_id -> domain, sealed."""
    out = ArtifactWriter(str(store / step.inputs["prompts"].folder), PROMPT)
    out.expect(rows)
    table = [
        {"prompt_id": p, "messages": [{"role": "user", "content": p}], "domain": d, "dataset": "t", "reference": None}
        for p, d in rows.items()
    ]
    out.accept(Receipt(parts=out.folder.write(PROMPT.build(table))))
    return out.seal({"inputs": {}})


def write_answers(store: Path, step: Step, prompts: dict[str, str], samples: int = SAMPLES, seed: int = 0) -> int:
    """Commit answers whose lengths vary around their domain's; returns their tokens."""
    rng = random.Random(seed)
    rows = [
        {
            "prompt_id": prompt, "source": "a", "sample_index": index, "text": "x", "finish_reason": "stop", "seed": 1,
            "num_tokens": round(LENGTHS[domain] * rng.uniform(0.8, 1.2)), "logprob_sum": None,
        }
        for prompt, domain in prompts.items() for index in range(samples)
    ]  # fmt: skip
    PartFolder(str(store / step.folder), RESPONSE).write(RESPONSE.build(rows))
    return sum(int(str(row["num_tokens"])) for row in rows)


def prompts_of(easy: int, hard: int) -> dict[str, str]:
    return {f"e{i:04d}": "easy" for i in range(easy)} | {f"h{i:04d}": "hard" for i in range(hard)}


def first(prompts: dict[str, str], easy: int, hard: int) -> dict[str, str]:
    chosen = [f"e{i:04d}" for i in range(easy)] + [f"h{i:04d}" for i in range(hard)]
    return {prompt: prompts[prompt] for prompt in chosen}


def test_what_is_left_is_counted_by_domain(tmp_path: Path) -> None:
    """Of 400 easy prompts 60 are answered, of 100 hard ones 5: the mean of all answers would say 33 tokens."""
    step, prompts = answers_step(), prompts_of(400, 100)
    write_prompts(tmp_path, step, prompts)
    answered = first(prompts, 60, 5)
    written = write_answers(tmp_path, step, answered)
    found = measured(str(tmp_path), step, [STEADY], 50)
    assert found is not None
    rest = {prompt: domain for prompt, domain in prompts.items() if prompt not in answered}
    truth = write_answers(tmp_path, step, rest, seed=1)
    assert (found.prompts, found.written, found.rows_left) == (65, written, len(rest) * SAMPLES)
    assert found.left.low < truth < found.left.high
    assert found.left.high - found.left.low < 0.25 * truth
    assert found.lengths == pytest.approx(LENGTHS, rel=0.1)


def test_nothing_is_measured_before_enough_prompts_are_answered(tmp_path: Path) -> None:
    step, prompts = answers_step(), prompts_of(60, 0)
    assert measured(str(tmp_path), step, [], 50) is None
    write_prompts(tmp_path, step, prompts)
    write_answers(tmp_path, step, first(prompts, 49, 0))
    assert measured(str(tmp_path), step, [], 50) is None
    write_answers(tmp_path, step, {"e0050": "easy"})
    found = measured(str(tmp_path), step, [], 50)
    assert found is not None
    assert found.prompts == 50
    assert found.speed is None


def test_partly_answered_dropped_and_torn_are_told_apart(tmp_path: Path) -> None:
    step, prompts = answers_step(), prompts_of(20, 0)
    write_prompts(tmp_path, step, prompts)
    write_answers(tmp_path, step, first(prompts, 8, 0))
    write_answers(tmp_path, step, {"e0010": "easy"}, samples=2)
    folder = PartFolder(str(tmp_path / step.folder), RESPONSE)
    folder.write_drops([(("e0011", "a", i), Reason.PROMPT_TOO_LONG, "") for i in range(SAMPLES)])
    folder.write_drops([(("e0012", "a", i), Reason.REQUEST_FAILED, "") for i in range(SAMPLES)])
    (tmp_path / step.folder / "parts" / f"{'0' * 32}.parquet").write_bytes(b"PAR1 torn")
    found = measured(str(tmp_path), step, [], 5)
    assert found is not None
    assert found.prompts == 8
    assert found.rows_left == 10 * SAMPLES + 1


def test_of_many_parts_a_sample_is_read(tmp_path: Path) -> None:
    step, prompts = answers_step(), prompts_of(3 * MOST_PARTS, 0)
    write_prompts(tmp_path, step, prompts)
    answered = first(prompts, 2 * MOST_PARTS, 0)
    written = sum(write_answers(tmp_path, step, {one: "easy"}, seed=i) for i, one in enumerate(answered))
    found = measured(str(tmp_path), step, [], 50)
    assert found is not None
    assert (found.prompts, found.rows_left) == (MOST_PARTS, MOST_PARTS * SAMPLES)
    assert found.written == pytest.approx(written, rel=0.02)


def test_a_speed_is_that_of_one_engine_on_as_many_gpus() -> None:
    found = speed([STEADY], Placement(gpus=4))
    assert found is not None
    assert found.value == pytest.approx(1005 / 2)
    assert found.low < found.value < found.high
    assert speed([STEADY], Placement(gpus=8)) is None
    assert speed([replace(STEADY, windows=STEADY.windows[:3])], Placement(gpus=4)) is None


def test_time_and_money_follow_from_tokens_and_speed(tmp_path: Path) -> None:
    """Two engines of four GPUs, 502 tokens/s each."""
    step, prompts = answers_step(), prompts_of(100, 100)
    write_prompts(tmp_path, step, prompts)
    write_answers(tmp_path, step, first(prompts, 50, 50))
    found = measured(str(tmp_path), step, [STEADY], 50)
    assert found is not None
    guess = StepForecast("responses/a", step.fingerprint, 600, 90_000, 30_000, gpu_hours=1.0, hours=0.1)
    left = remaining(guess, step, found)
    hours = found.left.value / (1005 / 2) / 2 / 3600
    assert left.hours == pytest.approx(hours)
    assert left.gpu_hours == pytest.approx(8 * hours)
    assert left.rows == 300
    usd = costs(left, step.placement, found).usd(Price(usd_per_gpu_hour=2.0, usd_per_hour=1.0))
    assert usd is not None
    assert usd.value == pytest.approx(17 * hours)
    assert usd.low < usd.value < usd.high
    line = source_line(left, step.placement, Price(usd_per_gpu_hour=2.0))
    assert line.startswith(("responses/a: 66", "responses/a: 65"))
    assert "GPU-hours [" in line
    assert "USD [" in line
    assert line.endswith("(measured on 100 prompts, 502 tokens/s an engine)")
    unknown = remaining(guess, step, replace(found, speed=None))
    assert unknown.hours == pytest.approx(0.1 * found.left.value / 30_000)
    assert "speed assumed" in source_line(unknown, step.placement, Price())


def test_what_was_not_measured_is_said_to_be_assumed() -> None:
    guess = StepForecast("responses/a", "f", 600, 90_000, 30_000, gpu_hours=1.0, hours=0.1)
    line = source_line(guess, Placement(), Price(usd_per_gpu_hour=2.0))
    assert line == "responses/a: 30k tokens, 1 GPU-hours, 6 min 00 s, 2 USD (assumed)"
    assert source_line(replace(guess, rows=None, hours=None, gpu_hours=None), Placement(), Price()) == (
        "responses/a: unknown tokens (assumed)"
    )


def test_the_first_prompts_asked_are_from_all_over_the_table() -> None:
    samples = tuple((f"{i}", (0, 1)) for i in range(1000))
    asked = [int(prompt) for prompt, _ in spread(samples)]
    assert sorted(asked) == list(range(1000))
    assert [sum(place // 250 == quarter for place in asked[:EARLY]) for quarter in range(4)] == [EARLY // 4] * 4
    assert asked[EARLY:] == sorted(asked[EARLY:])
    assert spread(samples[:5]) == samples[:5]


@pytest.mark.parametrize("place", range(0, 100, 10))
def test_what_is_damaged_anywhere_ends_no_forecast(tmp_path: Path, place: int) -> None:
    """One bit of the prompts is wrong: the run makes them again, and until then nothing is known of them."""
    step, prompts = answers_step(), prompts_of(60, 0)
    write_prompts(tmp_path, step, prompts)
    write_answers(tmp_path, step, prompts)
    for part in (tmp_path / step.inputs["prompts"].folder / "parts").iterdir():
        data = bytearray(part.read_bytes())
        data[len(data) * place // 100] ^= 1
        part.write_bytes(data)
    measured(str(tmp_path), step, [], 50)


def test_what_judges_read_is_covered_by_its_interval(tmp_path: Path) -> None:
    """60 of 400 easy prompts and 50 of 100 hard ones are answered; a judge reads all, with 200 tokens each."""
    step, prompts = answers_step(), prompts_of(400, 100)
    write_prompts(tmp_path, step, prompts)
    answered = first(prompts, 60, 50)
    written = write_answers(tmp_path, step, answered)
    found = measured(str(tmp_path), step, [], 50)
    assert found is not None
    rest = {prompt: domain for prompt, domain in prompts.items() if prompt not in answered}
    truth = written + write_answers(tmp_path, step, rest, seed=1) + 1500 * 200
    judge = reader("rewards", ScoreConfig(reward=CleanText(), name="j"), {"responses": step})
    guess = StepForecast("responses/a", step.fingerprint, 1500, 1e6, written=750_000.0)
    read = StepForecast(
        "rewards/a-j", judge.fingerprint, 1500, 300_000.0 + 750_000.0, gpu_hours=10.0, hours=5.0, gpus=2
    )
    one = passed_on(read, judge, {step.fingerprint: guess}, {step.fingerprint: found})
    assert one.tokens_range is not None
    assert one.tokens_range.low < truth < one.tokens_range.high
    assert one.tokens_range.high - one.tokens_range.low < 0.1 * truth
    assert one.gpu_hours == pytest.approx(10 * one.tokens / read.tokens)
    line = stage_line(one, Price(usd_per_gpu_hour=2.0))
    assert line.endswith("(lengths measured, pace assumed)")
    assert "GPU-hours [" in line
    half = at_seen_pace(one, 0.25, gpu_hours=3.0)
    assert (half.gpu_hours, half.hours, half.rows) == (pytest.approx(9), pytest.approx(4.5), 1125)
    assert stage_line(half, Price()).endswith("(lengths and pace measured)")


def test_training_is_as_uncertain_as_the_answers_it_may_read(tmp_path: Path) -> None:
    step, prompts = answers_step(), prompts_of(200, 0)
    write_prompts(tmp_path, step, prompts)
    write_answers(tmp_path, step, first(prompts, 60, 0))
    found = measured(str(tmp_path), step, [], 50)
    assert found is not None
    training = reader("checkpoint", Jsonl(path="p"), {"sft": reader("sft", Jsonl(path="q"), {"responses:a": step})})
    guess = StepForecast("checkpoint/sft", training.fingerprint, 100, 22_000.0, gpu_hours=2.0, hours=1.0)
    one = passed_on(guess, training, {}, {step.fingerprint: found})
    assert one.tokens == guess.tokens
    assert one.gpu_hours_range is not None
    width, told = (one.gpu_hours_range.high - one.gpu_hours_range.low) / 2.0, found.tokens
    assert width == pytest.approx((told.high - told.low) / told.value)
    assert passed_on(guess, training, {}, {}) == guess
    assert total_line([one]).endswith("(of 1 steps that take GPUs 1 are measured; the others' part has no interval)")
    assert total_line([guess]) == "all that is left: 22k tokens, 2 GPU-hours, 0 GiB (assumed)"


def reader(kind: str, config: object, inputs: dict[str, Step]) -> Step:
    return Step(kind=kind, label="a", run=generate.run, config=config, produces=RESPONSE, inputs=inputs)
