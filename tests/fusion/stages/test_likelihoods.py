"""How likely given continuations are: against the plain way of computing it, resumed, and what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from fusion.artifact import Artifact
from fusion.continuation import pair_ids
from fusion.errors import FusionError
from fusion.models import ChatConfig, ModelRef, resolve
from fusion.prompts.continuations import KEY, Context, listed
from fusion.runtime import InProcess
from fusion.schema import PROMPT, RESPONSE
from fusion.stages import likelihoods
from fusion.stages.likelihoods import LikelihoodsConfig
from fusion.step import Placement, Step
from fusion.train.config import Dtype
from fusion.work import Work
from fusion.writer import ArtifactWriter
from tests.fusion.stages.test_generate import HaltError, Interrupting
from tests.fusion.stages.test_training import Counting, sealed
from tests.tiny import make_pico_llama

CHAT: Context = [{"role": "user", "content": "one?"}]
ITEMS: list[list[tuple[Context, str]]] = [
    *(
        [(f"What is {i} + {i}? It is", f" {answer}") for answer in (2 * i, 2 * i + 1, "a large number")]
        for i in range(6)
    ),
    [("After a long text: " * 20, "one")],
    [("Ann said that Ann", " slept."), ("Ann said that Bob", " slept.")],
    [("", "Words without a context.")],
    [(CHAT, "one"), (CHAT, "two")],
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    ref = ModelRef(uri=str(make_pico_llama(tmp_path_factory.mktemp("pico"), seed=3)))
    resolve(ref)
    return ref


def item(number: int, pairs: Sequence[tuple[Context, str]]) -> dict[str, object]:
    return {
        "prompt_id": f"p{number}",
        "messages": [{"role": "user", "content": str(pairs[0][0])}],
        "domain": "toys",
        "dataset": "t",
        "reference": json.dumps({KEY: listed(pairs)}),
    }


def table(folder: Path, items: Sequence[Sequence[tuple[Context, str]]]) -> Artifact:
    return sealed(folder, PROMPT, [item(number, pairs) for number, pairs in enumerate(items)])


def work(folder: Path, model: ModelRef, prompts: Artifact, source: str = "pico") -> Work:
    config = LikelihoodsConfig(source=source, model=model, dtype=Dtype.FLOAT32)
    step = Step(
        kind="responses", label="test", run=likelihoods.run, config=config, produces=RESPONSE,
        placement=Placement(part_rows=2, in_flight=2),
    )  # fmt: skip
    out = ArtifactWriter(str(folder), RESPONSE)
    return Work(step, {"prompts": prompts}, out, progress=lambda done, total: None, stopped=lambda: False)


def made(folder: Path, model: ModelRef, prompts: Artifact, runtime: InProcess | None = None) -> Artifact:
    one = work(folder, model, prompts)
    likelihoods.run([one], runtime or InProcess())
    return one.rows_out.seal({})


def said(answers: Artifact) -> dict[str, list[tuple[float, bool]]]:
    return {row["prompt_id"]: [tuple(one) for one in json.loads(row["text"])] for row in answers.read().to_pylist()}


def plainly(folder: str, items: Sequence[Sequence[tuple[Context, str]]]) -> dict[str, list[tuple[float, bool]]]:
    """One forward pass a continuation."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    found: dict[str, list[tuple[float, bool]]] = {}
    for number, pairs in enumerate(items):
        for context, continuation in pairs:
            text = context if isinstance(context, str) else f"<bos><|user|>{context[0]['content']}<|end|><|assistant|>"
            before, after = pair_ids(tokenizer, text, continuation)
            ids = torch.tensor([(before + after)[-257:][:-1]])
            with torch.no_grad():
                logprobs = model(ids).logits[0].log_softmax(-1)[-len(after) :]
            total = sum(float(logprobs[i, token]) for i, token in enumerate(after))
            is_greedy = logprobs.argmax(-1).tolist() == list(after)
            found.setdefault(f"p{number}", []).append((pytest.approx(total, abs=1e-4), is_greedy))
    return found


def test_every_continuation_has_the_models_own_number(tmp_path: Path, model: ModelRef) -> None:
    answers = made(tmp_path / "out", model, table(tmp_path / "in", ITEMS))
    assert said(answers) == plainly(model.uri, ITEMS)
    rows = {row["prompt_id"]: row for row in answers.read().to_pylist()}
    assert (rows["p0"]["source"], rows["p0"]["sample_index"], rows["p0"]["finish_reason"]) == ("pico", 0, "stop")
    assert rows["p0"]["num_tokens"] == 2 + 2 + 15  # of the continuations


def test_what_the_model_would_write_is_greedy(tmp_path: Path, model: ModelRef) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.uri)
    loaded = AutoModelForCausalLM.from_pretrained(model.uri, dtype=torch.float32)
    letters = {i for i in range(262) if tokenizer.decode([i]).isalpha() and tokenizer.decode([i]).isascii()}
    contexts = [f"{first}{second}" for first in "abcdefgh" for second in "abcdefgh"]
    with torch.no_grad():
        likeliest = {one: int(loaded(torch.tensor([tokenizer.encode(one)])).logits[0, -1].argmax()) for one in contexts}
    context = next(one for one, token in likeliest.items() if token in letters)
    letter = tokenizer.decode([likeliest[context]])
    other = "x" if letter != "x" else "y"
    answers = made(tmp_path / "out", model, table(tmp_path / "in", [[(context, letter), (context, other)]]))
    assert [is_greedy for _, is_greedy in said(answers)["p0"]] == [True, False]


@pytest.mark.parametrize("parts", [0, 2])
def test_a_resumed_run_reads_only_what_is_missing(tmp_path: Path, model: ModelRef, parts: int) -> None:
    prompts = table(tmp_path / "in", ITEMS)
    with pytest.raises(HaltError):
        made(tmp_path / "out", model, prompts, Interrupting(parts))
    kept = work(tmp_path / "out", model, prompts).rows_out.num_done
    assert parts <= kept < len(ITEMS)
    runtime = Counting()
    assert said(made(tmp_path / "out", model, prompts, runtime)) == plainly(model.uri, ITEMS)
    assert runtime.num_requests == len(ITEMS) - kept


def test_tables_of_a_gang_are_read_by_one_model(tmp_path: Path, model: ModelRef) -> None:
    """Of two tables that differ in what they ask, each gets its own answers."""
    tables = [table(tmp_path / "a", ITEMS), table(tmp_path / "b", ITEMS[::-1])]
    works = [work(tmp_path / f"out{i}", model, prompts, f"pico{i}") for i, prompts in enumerate(tables)]
    likelihoods.run(works, InProcess())
    first, second = (said(one.rows_out.seal({})) for one in works)
    assert first == plainly(model.uri, ITEMS)
    assert second == plainly(model.uri, ITEMS[::-1])


def test_what_cannot_be_read_is_dropped_with_the_reason(tmp_path: Path, model: ModelRef) -> None:
    items: list[list[tuple[Context, str]]] = [[("a", " b"), ("a", "")], [("a", "b" * 257)], [("a", "b" * 256)]]
    answers = made(tmp_path / "out", model, table(tmp_path / "in", items))
    assert answers.accounts.dropped == {"empty_response": 1, "over_length": 1}
    details = {row["key"]: row["detail"] for row in answers.drops().to_pylist()}
    assert "257 tokens, and the model's context is 256" in details["p1/pico/0"]
    assert said(answers).keys() == {"p2"}


def test_a_number_that_is_none_is_dropped(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_pico_llama(tmp_path / "broken")
    (letter,) = AutoTokenizer.from_pretrained(folder).encode("z")
    loaded = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    head = loaded.get_output_embeddings()
    head.weight = torch.nn.Parameter(head.weight.detach().clone())
    loaded.get_input_embeddings().weight.data[letter] = float("nan")
    loaded.config.tie_word_embeddings = False
    loaded.save_pretrained(folder)
    broken = ModelRef(uri=str(folder))
    resolve(broken)
    items: list[list[tuple[Context, str]]] = [[("one", " two")], [("one z", " two")]]
    answers = made(tmp_path / "out", broken, table(tmp_path / "in", items))
    assert answers.accounts.dropped | answers.accounts.failed == {"not_finite": 1}
    assert said(answers).keys() == {"p0"}


def test_only_conversations_need_a_chat_template(tmp_path: Path) -> None:
    """A base model reads plain text."""
    base = ModelRef(uri=str(make_pico_llama(tmp_path / "base", chat_template=None)))
    resolve(base)
    plain = [pairs for pairs in ITEMS if isinstance(pairs[0][0], str)]
    assert said(made(tmp_path / "out", base, table(tmp_path / "in", plain))) == plainly(base.uri, plain)
    with pytest.raises(FusionError, match=r"has no chat template; set chat.template"):
        made(tmp_path / "chat", base, table(tmp_path / "asked", [[(CHAT, "one")]]))
    templated = ModelRef(uri=base.uri, revision=base.revision, chat=ChatConfig(template="{{ messages[0].content }}"))
    answers = made(tmp_path / "templated", templated, table(tmp_path / "again", [[(CHAT, "one")]]))
    assert said(answers) == plainly(base.uri, [[("one?", "one")]])
