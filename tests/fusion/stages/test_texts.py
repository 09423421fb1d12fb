"""Texts to learn from: blocks that fit every tokenizer, answers of dialogs, and what is kept unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusion.artifact import Artifact, Receipt
from fusion.errors import ConfigError, FusionError
from fusion.explicit.config import Form, TextsConfig
from fusion.explicit.reader import ReadBy, Reader
from fusion.models import ChatConfig, ModelRef, resolve
from fusion.prompts.base import Prompts
from fusion.prompts.columns import Columns, Trailing
from fusion.prompts.jsonl import Jsonl
from fusion.runtime import InProcess
from fusion.schema import PROMPT, SFT_EXAMPLE, prompt_id
from fusion.stages import texts
from fusion.stages.texts import TextsStepConfig, cut
from fusion.step import Step
from fusion.work import Work
from fusion.writer import ArtifactWriter
from tests.fusion.explicit.pico import make_pico_bpe
from tests.tiny import make_pico_llama

DOCUMENT = "A cat sat on the mat. 你好，世界！ The end of it. " * 20


@pytest.fixture(scope="module")
def refs(tmp_path_factory: pytest.TempPathFactory) -> list[ReadBy]:
    folder = tmp_path_factory.mktemp("models")
    made = []
    for name, path in (("pico", make_pico_llama(folder / "pico")), ("bpe", make_pico_bpe(folder / "bpe", [DOCUMENT]))):
        model = ModelRef(uri=str(path))
        resolve(model)
        made.append(ReadBy(name=name, model=model, chat=ChatConfig()))
    return made


@pytest.fixture(scope="module")
def readers(refs: list[ReadBy]) -> list[Reader]:
    return [ref.open() for ref in refs]


def prompts(folder: Path, contents: list[str]) -> Artifact:
    writer = ArtifactWriter(str(folder / "prompts"), PROMPT)
    rows = []
    for content in contents:
        messages = [{"role": "user", "content": content}]
        key = prompt_id(messages, None)
        rows.append({"prompt_id": key, "messages": messages, "domain": "d", "dataset": "s", "reference": None})
    writer.expect([str(row["prompt_id"]) for row in rows])
    writer.accept(Receipt(writer.folder.write(PROMPT.build(rows))))
    return writer.seal({})


def made(folder: Path, config: TextsStepConfig, source: Artifact) -> Artifact:
    step = Step(kind="texts", label="t", run=texts.run, config=config, produces=SFT_EXAMPLE)
    out = ArtifactWriter(str(folder / f"texts{config.held_out}"), SFT_EXAMPLE)
    texts.run([Work(step, {"prompts": source}, out, lambda done, total: None, lambda: False)], InProcess())
    return out.seal({})


def test_blocks_fit_every_tokenizer_and_are_the_whole_text(readers: list[Reader]) -> None:
    blocks = list(cut(DOCUMENT, readers, 40))
    assert "".join(blocks) == DOCUMENT
    for block in blocks:
        assert max(len(reader.renderer.response_ids(block)) - 1 for reader in readers) <= 42  # cut apart, a few more
    assert sum(block[-1].isspace() for block in blocks[:-1]) > len(blocks) // 2


def test_no_character_is_cut_in_two(readers: list[Reader]) -> None:
    assert "".join(cut("你好世界" * 9, readers, 8)) == "你好世界" * 9
    with pytest.raises(FusionError, match="less than one character"):
        list(cut("你好", readers, 2))


def test_a_text_by_itself_begins_with_the_beginning_of_sequence(readers: list[Reader]) -> None:
    assert readers[0].renderer.prompt_ids([]) == [readers[0].renderer.tokenizer.bos_token_id]


def test_learnt_and_unseen_documents_are_apart_and_together_all(tmp_path: Path, refs: list[ReadBy]) -> None:
    source = prompts(tmp_path, [f"document {number}" for number in range(40)])
    settings = TextsConfig(block_tokens=30, held_out_frac=0.3)
    configs = [TextsStepConfig(texts=settings, held_out=side, readers=refs) for side in (False, True)]
    sides = [made(tmp_path, config, source) for config in configs]
    learnt, unseen = (set(side.read()["response"].to_pylist()) for side in sides)
    assert not learnt & unseen
    assert len(learnt | unseen) == 40
    assert 4 < len(unseen) < 20
    assert sides[0].accounts.dropped == {"other_phase": len(unseen)}


def test_dialogs_take_the_answer_that_the_data_set_gives(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    turns = '[{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello!"}]'
    file.write_text(f'{{"messages": {turns}}}\n{{"prompt": "And?"}}\n')
    data: Prompts = Jsonl(path=str(file), columns=Columns(trailing=Trailing.RESPONSE))
    settings = TextsConfig(form=Form.DIALOGS)
    config = TextsStepConfig(texts=settings, held_out=False, readers=[], dialogs=data)
    found = made(tmp_path, config, prompts(tmp_path, ["Hi", "And?"]))
    rows = found.read().to_pylist()
    assert [(row["messages"][0]["content"], row["response"]) for row in rows] == [("Hi", "Hello!")]
    assert found.accounts.dropped == {"no_response": 1}


def test_dialogs_without_answers_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    file.write_text('{"prompt": "Hi"}\n')
    settings = TextsConfig(form=Form.DIALOGS)
    config = TextsStepConfig(texts=settings, held_out=False, readers=[], dialogs=Jsonl(path=str(file)))
    with pytest.raises(ConfigError, match="holds no answers"):
        made(tmp_path, config, prompts(tmp_path, ["Hi"]))
