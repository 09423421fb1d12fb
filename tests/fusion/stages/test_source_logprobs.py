"""How likely answers are under a source: in its own template, exactly, once, and what it cannot read is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.artifact import Artifact
from fusion.chat import Renderer
from fusion.models import ChatConfig, ModelRef, resolve
from fusion.runtime import InProcess
from fusion.schema import PREFERENCE_PAIR, hash_text
from fusion.stages import source_logprobs
from fusion.stages.source_logprobs import SourceLogprobConfig
from fusion.train.config import Dtype
from fusion.training_tables import SOURCE_LOGPROB
from fusion.writer import ArtifactWriter
from tests.fusion.stages.test_training import Counting, messages, pair_row, sealed, work_on
from tests.tiny import make_pico_llama

PLAIN = (
    "{% for m in messages %}{% if m['role'] == 'user' %}Q: {{ m['content'] }}\nA: "
    "{% else %}{{ m['content'] }}\n{% endif %}{% endfor %}"
)
"""A base model's template: an answer ends with its line, and no token says so."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    ref = ModelRef(uri=str(make_pico_llama(tmp_path_factory.mktemp("pico"), seed=5)))
    resolve(ref)
    return ref


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    rows = [pair_row(i, f"{2 * i}", f"it is {2 * i + 1}") for i in range(6)]
    return sealed(tmp_path_factory.mktemp("pairs"), PREFERENCE_PAIR, [*rows, pair_row(6, "12", "x" * 300)])


def made(
    folder: Path, source: ModelRef, pairs: Artifact, runtime: InProcess | None = None, siblings: list[str] | None = None
) -> Artifact:
    config = SourceLogprobConfig(name="pico", model=source, dtype=Dtype.FLOAT32)
    out = ArtifactWriter(str(folder), SOURCE_LOGPROB, siblings)
    work = work_on(source_logprobs.run, config, {"pairs": pairs}, out, "source_logprobs")
    source_logprobs.run([work], runtime or InProcess())
    return out.seal({})


def by_key(table: Artifact) -> dict[tuple[str, str], dict[str, object]]:
    return {(row["prompt_id"], row["text_hash"]): row for row in table.read().to_pylist()}


def expected(folder: Path, prompt: list[int], response: list[int]) -> float:
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    logprobs = model(torch.tensor([prompt + response])).logits[0].detach().log_softmax(-1)
    return sum(float(logprobs[len(prompt) - 1 + i, token]) for i, token in enumerate(response))


def test_each_answer_has_the_sources_own_number_with_its_end_of_turn(
    tmp_path: Path, source: ModelRef, pairs: Artifact
) -> None:
    table = made(tmp_path, source, pairs)
    assert table.accounts.rows_out == 13
    row = by_key(table)["p3", hash_text("it is 7")]
    renderer = Renderer.load(Path(source.uri), ChatConfig())
    prompt, response = renderer.prompt_ids(messages(3), "sums"), renderer.response_ids("it is 7")
    assert row["num_tokens"] == 8  # seven letters and the end of turn
    assert row["logprob_sum"] == pytest.approx(expected(Path(source.uri), prompt, response), abs=1e-4)


def test_an_answer_that_the_source_cannot_read_is_dropped_with_the_reason(
    tmp_path: Path, source: ModelRef, pairs: Artifact
) -> None:
    table = made(tmp_path, source, pairs)
    assert table.accounts.dropped == {"over_length": 1}
    assert ("p6", hash_text("x" * 300)) not in by_key(table)


def test_a_base_models_end_of_sequence_is_left_out_since_it_means_something_else(
    tmp_path: Path, source: ModelRef, pairs: Artifact
) -> None:
    base = ModelRef(uri=source.uri, revision=source.revision, chat=ChatConfig(template=PLAIN))
    row = by_key(made(tmp_path, base, pairs))["p3", hash_text("it is 7")]
    renderer = Renderer.load(Path(source.uri), base.chat)
    prompt, response = renderer.prompt_ids(messages(3), "sums"), renderer.response_ids("it is 7")[:-1]
    assert row["num_tokens"] == 7
    assert row["logprob_sum"] == pytest.approx(expected(Path(source.uri), prompt, response), abs=1e-4)


def test_other_pairs_with_the_same_answers_ask_only_for_what_is_new(
    tmp_path: Path, source: ModelRef, pairs: Artifact
) -> None:
    old = made(tmp_path / "old", source, pairs)
    rows = [pair_row(i, f"it is {2 * i + 1}", f"{2 * i}") for i in range(6)] + [
        pair_row(7, "14", "15")
    ]  # swapped, and one more
    other = sealed(tmp_path / "pairs", PREFERENCE_PAIR, rows)
    runtime = Counting()
    table = made(tmp_path / "new", source, other, runtime, [old.path])
    assert runtime.num_requests == 2
    assert table.accounts.rows_out == 14


def test_a_number_that_is_none_is_dropped_and_counted(tmp_path: Path) -> None:
    """Stored, it would make the loss of its pair NaN or infinite, or silently leave this source out of it."""
    import torch
    from transformers import AutoModelForCausalLM

    folder = make_pico_llama(tmp_path / "broken")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    head = model.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    z = Renderer.load(folder, ChatConfig()).response_ids("z")[0]
    model.get_input_embeddings().weight.data[z] = float("nan")  # of what stands before it nothing is known
    model.config.tie_word_embeddings = False
    model.save_pretrained(folder)
    broken = ModelRef(uri=str(folder))
    resolve(broken)
    pairs = sealed(tmp_path / "pairs", PREFERENCE_PAIR, [pair_row(0, "0", "1"), pair_row(1, "z1", "2")])
    table = made(tmp_path / "out", broken, pairs)
    assert table.accounts.dropped | table.accounts.failed == {"not_finite": 1}
    assert table.drops()["key"].to_pylist() == [f"p1/{hash_text('z1')}"]
    assert len(by_key(table)) == 3
