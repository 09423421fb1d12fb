"""How likely continuations are, against lm-evaluation-harness's own model class, task by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from fusion.models import ModelRef, resolve
from fusion.prompts.harness_items import HarnessItems
from fusion.prompts.harness_task import HarnessTask, library
from fusion.schema import PROMPT, prompt_id
from tests.fusion.stages.test_likelihoods import made, said
from tests.fusion.stages.test_training import sealed
from tests.harness_tasks import make_tasks
from tests.tiny import make_pico_llama

TASKS = (
    "choice",
    "choice_shots",
    "choice_long",
    "choice_spaced",
    "choice_alone",
    "choice_inputs",
    "choice_begun",
    "word",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tasks(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module", params=["adds no beginning", "adds a beginning"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """Of a family whose tokenizer puts a beginning of sequence before a text, and of one whose tokenizer does not."""
    place = make_pico_llama(tmp_path_factory.mktemp("pico"), seed=11)
    if request.param == "adds a beginning":
        from tokenizers.processors import TemplateProcessing
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(place)
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
        )
        tokenizer.save_pretrained(place)
        assert AutoTokenizer.from_pretrained(place).encode("a")[0] == tokenizer.bos_token_id
    ref = ModelRef(uri=str(place))
    resolve(ref)
    return ref


def theirs(folder: Path, name: str, model: ModelRef, is_chat: bool) -> Sequence[Mapping[str, Any]]:
    """The library's log of samples of its own evaluation."""
    evaluator, huggingface = library("evaluator"), library("models.huggingface")
    manager = library("tasks").TaskManager(include_path=str(folder), include_defaults=False)
    reader = huggingface.HFLM(pretrained=model.uri, device="cpu", dtype="float32", batch_size=4)
    result = evaluator.simple_evaluate(
        reader, tasks=[name], task_manager=manager, apply_chat_template=is_chat, fewshot_as_multiturn=is_chat,
        bootstrap_iters=0,
    )  # fmt: skip
    return sorted(result["samples"][name], key=lambda one: int(one["doc_id"]))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("is_chat", [False, True])
def test_numbers_are_those_of_the_library(
    tmp_path: Path, folder: Path, model: ModelRef, task: str, is_chat: bool
) -> None:
    if is_chat and task == "choice_begun":
        pytest.skip("refused: a chat template ends an answer that is begun")
    name = f"toy_{task}"
    items = HarnessItems(name=name, task=HarnessTask(name=name, include_path=str(folder)), chat=is_chat)
    prompts = list(items.read())
    ids = [prompt_id(prompt.messages, prompt.reference) for prompt in prompts]
    rows = [
        {
            "prompt_id": own_id,
            "messages": list(prompt.messages),
            "domain": prompt.domain,
            "dataset": prompt.dataset,
            "reference": prompt.reference,
        }
        for own_id, prompt in zip(ids, prompts, strict=True)
    ]
    found = said(made(tmp_path / "out", model, sealed(tmp_path / "in", PROMPT, rows)))
    logged = theirs(folder, name, model, is_chat)
    assert len(logged) == len(ids) == 8
    for own_id, sample in zip(ids, logged, strict=True):
        numbers = [number for number, _ in sample["filtered_resps"]]
        assert [number for number, _ in found[own_id]] == pytest.approx(numbers, abs=1e-4)
        assert [greedy for _, greedy in found[own_id]] == [greedy for _, greedy in sample["filtered_resps"]]
