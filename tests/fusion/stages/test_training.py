"""SFT, reference log-probabilities and preference training as stages, from tables to checkpoints, in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fusion.artifact import Artifact, Receipt
from fusion.errors import StepFailed
from fusion.models import ChatConfig, ModelRef, resolve
from fusion.objectives.dpo import Dpo
from fusion.runtime import Done, InProcess, Tasks, WorkerSpec
from fusion.schema import LOGPROB, PREFERENCE_PAIR, SFT_EXAMPLE
from fusion.stages import reference, train_preference, train_sft
from fusion.stages.reference import ReferenceConfig
from fusion.stages.train_preference import TrainPreferenceConfig
from fusion.stages.train_sft import TrainSftConfig
from fusion.step import CHECKPOINT, Placement, Step
from fusion.table import Table
from fusion.train.config import Dtype, Execution, PreferenceConfig, SftConfig
from fusion.tree import TreeArtifact, TreeWriter
from fusion.work import Input, Work
from fusion.writer import ArtifactWriter
from tests.tiny import make_pico_llama

EXECUTION = Execution(micro_batch_size=4, save_every_steps=0)
PREFERENCE = PreferenceConfig(
    global_batch_size=4, learning_rate=1e-3, max_length=64, dtype=Dtype.FLOAT32, execution=EXECUTION
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    ref = ModelRef(uri=str(make_pico_llama(tmp_path_factory.mktemp("pico"))))
    resolve(ref)
    return ref


def messages(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "content": f"{number}+{number}?"}]


def sft_row(number: int, response: str) -> dict[str, object]:
    return {
        "prompt_id": f"p{number}",
        "domain": "sums",
        "messages": messages(number),
        "response": response,
        "source": "a",
        "sample_index": 0,
        "rewards": [],
        "rule": "r",
    }


def pair_row(number: int, chosen: str, rejected: str) -> dict[str, object]:
    both = {f"{role}_{what}": value for role in ("chosen", "rejected") for what, value in
            (("source", "a"), ("index", 0), ("rewards", []))}  # fmt: skip
    return {
        "prompt_id": f"p{number}",
        "pair_index": 0,
        "domain": "sums",
        "messages": messages(number),
        "chosen": chosen,
        "rejected": rejected,
        "margin": 1.0,
        "rule": "r",
    } | both


def sealed(folder: Path, table: Table, rows: list[dict[str, object]], part_rows: int = 5) -> Artifact:
    writer = ArtifactWriter(str(folder), table)
    writer.expect({str(row["prompt_id"]) for row in rows})
    for start in range(0, len(rows), part_rows):
        writer.accept(Receipt(writer.folder.write(table.build(rows[start : start + part_rows]))))
    return writer.seal({})


def work_on(
    run: Callable[..., None], config: object, inputs: dict[str, Input], out: ArtifactWriter | TreeWriter, kind: str
) -> Work:
    step = Step(
        kind=kind,
        label="test",
        run=run,
        config=config,
        produces=LOGPROB if isinstance(out, ArtifactWriter) else CHECKPOINT,
        placement=Placement(part_rows=4, in_flight=2),
    )
    return Work(step, inputs, out, progress=lambda done, total: None, stopped=lambda: False)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    rows = [pair_row(i, f"{2 * i}", f"it is {2 * i + 1}") for i in range(12)]
    rows += [pair_row(12, "same", "same"), pair_row(13, "x" * 90, "y")]
    return sealed(tmp_path_factory.mktemp("pairs"), PREFERENCE_PAIR, rows)


def reference_table(
    folder: Path, model: ModelRef, pairs: Artifact, siblings: list[str] | None = None
) -> ArtifactWriter:
    config = ReferenceConfig(chat=ChatConfig(), train=PREFERENCE, model=model)
    out = ArtifactWriter(str(folder), LOGPROB)
    reference.run([work_on(reference.run, config, {"pairs": pairs}, out, "logprobs")], InProcess())
    return out


class Counting(InProcess):
    """Counts the sequences that a model was asked about."""

    def __init__(self) -> None:
        self.num_requests = 0

    def map(self, worker: WorkerSpec, tasks: Tasks, placement: Placement, name: str) -> Iterator[Done]:
        for done in super().map(worker, tasks, placement, name):
            self.num_requests += sum(receipt.num_requests for receipt in done.receipts.values())
            yield done


def test_reference_rows_are_one_a_token_sequence_with_the_models_numbers(
    tmp_path: Path, model: ModelRef, pairs: Artifact
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from fusion.chat import Renderer
    from fusion.train.rows import tokens_id

    table = reference_table(tmp_path, model, pairs).seal({}).read().to_pylist()
    assert len(table) == 24  # 12 pairs; the equal pair and the one that is too long are not trained on
    folder = Path(model.uri)
    renderer = Renderer.load(folder, ChatConfig())
    prompt, response = renderer.prompt_ids(messages(3), "sums"), renderer.response_ids("6")
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    logprobs = loaded(torch.tensor([prompt + response])).logits[0].detach().log_softmax(-1)
    expected = sum(float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(response))
    row = next(row for row in table if row["tokens_id"] == tokens_id(prompt, response))
    assert row["logprob_sum"] == pytest.approx(expected, abs=1e-4)
    assert row["num_tokens"] == 2  # the digit and the end of turn


def test_a_run_with_other_pairs_computes_only_the_tokens_that_are_new(
    tmp_path: Path, model: ModelRef, pairs: Artifact
) -> None:
    reference_table(tmp_path / "old", model, pairs).seal({})
    rows = [pair_row(i, f"{2 * i}", f"it is {2 * i + 1}") for i in range(10)] + [pair_row(20, "40", "41")]
    grown = sealed(tmp_path / "pairs", PREFERENCE_PAIR, rows)
    config = ReferenceConfig(chat=ChatConfig(), train=PREFERENCE, model=model)
    out = ArtifactWriter(str(tmp_path / "new"), LOGPROB, [str(tmp_path / "old")])
    runtime = Counting()
    reference.run([work_on(reference.run, config, {"pairs": grown}, out, "logprobs")], runtime)
    assert runtime.num_requests == 2
    assert out.seal({}).accounts.rows_out == 22


def test_settings_that_change_no_token_leave_the_reference_alone() -> None:
    from fusion.fingerprint import fingerprint

    def of(train: PreferenceConfig) -> str:
        return fingerprint(ReferenceConfig(chat=ChatConfig(), train=train))

    assert of(replace(PREFERENCE, learning_rate=5.0, epochs=9)) == of(PREFERENCE)
    assert of(replace(PREFERENCE, max_length=65)) != of(PREFERENCE)
    assert of(replace(PREFERENCE, dtype=Dtype.BFLOAT16)) != of(PREFERENCE)


def test_how_training_is_cut_up_is_not_part_of_what_it_is() -> None:
    from fusion.fingerprint import fingerprint

    other = replace(PREFERENCE, execution=Execution(zero_stage=3, micro_batch_size=1))
    assert fingerprint(other) == fingerprint(PREFERENCE)


@pytest.mark.slow
def test_sft_then_reference_then_dpo_starts_at_log_2_and_accounts_for_every_row(
    tmp_path: Path, model: ModelRef, pairs: Artifact
) -> None:
    rows = [sft_row(i, f"{2 * i}") for i in range(7)] + [sft_row(7, "x" * 90)]
    sft_config = SftConfig(
        global_batch_size=4, epochs=1, learning_rate=1e-2, max_length=64, dtype=Dtype.FLOAT32, execution=EXECUTION
    )
    out = TreeWriter(str(tmp_path / "sft"))
    inputs: dict[str, Input] = {"sft": sealed(tmp_path / "rows", SFT_EXAMPLE, rows)}
    config = TrainSftConfig(model=model, train=sft_config)
    train_sft.run([work_on(train_sft.run, config, inputs, out, "checkpoint")], InProcess())
    trained = out.seal({})
    assert trained.manifest["accounts"] == {"rows_in": 8, "rows_out": 7, "dropped": {"over_length": 1}, "failed": {}}
    assert curve(trained)[-1]["loss"] < curve(trained)[0]["loss"]

    known = ArtifactWriter(str(tmp_path / "reference"), LOGPROB)
    reference_config = ReferenceConfig(chat=ChatConfig(), train=PREFERENCE)
    both: dict[str, Input] = {"pairs": pairs, "model": trained}
    reference.run([work_on(reference.run, reference_config, both, known, "logprobs")], InProcess())
    dpo = TrainPreferenceConfig(chat=ChatConfig(), objective=Dpo(beta=0.1), train=replace(PREFERENCE, epochs=6))
    out = TreeWriter(str(tmp_path / "dpo"))
    three: dict[str, Input] = {**both, "reference": known.seal({})}
    train_preference.run([work_on(train_preference.run, dpo, three, out, "checkpoint")], InProcess())
    final = out.seal({})
    assert curve(final)[0]["loss"] == pytest.approx(0.693147, abs=1e-4)
    assert curve(final)[-1]["accuracy"] == 1.0
    assert curve(final)[-1]["margin"] > 0
    expected = {"rows_in": 14, "rows_out": 12, "dropped": {"difference_lost": 1, "over_length": 1}, "failed": {}}
    assert final.manifest["accounts"] == expected


def curve(artifact: TreeArtifact) -> list[dict[str, float]]:
    metrics = artifact.manifest["metrics"]
    assert isinstance(metrics, dict)
    return list(metrics["curve"])


def test_nothing_to_train_on_is_an_error_that_says_why(tmp_path: Path, model: ModelRef) -> None:
    inputs: dict[str, Input] = {"sft": sealed(tmp_path / "rows", SFT_EXAMPLE, [sft_row(0, "x" * 90)])}
    config = TrainSftConfig(model=model, train=SftConfig(max_length=64))
    work = work_on(train_sft.run, config, inputs, TreeWriter(str(tmp_path / "sft")), "checkpoint")
    with pytest.raises(StepFailed, match=r"no row is left to train on; dropped: \{'over_length': 1\}"):
        train_sft.run([work], InProcess())
