"""Rendering: one beginning, one end, a prompt that is a prefix."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fusion.chat import Renderer
from fusion.errors import ConfigError
from fusion.models import ChatConfig
from tests.shared_data import shared_data
from tests.tiny import CHAT_TEMPLATE, make_tokenizer

CONF = Path(__file__).parents[2] / "conf"
FAMILIES = {"llama31": "llama3_1", "llama32": "llama3_1", "qwen25": "qwen3", "gemma2": "gemma3", "gemma3": "gemma3"}
"""Beginning of a yaml's name -> the public tokenizer of its family."""
MODELS = sorted(
    path
    for group in ("source", "target")
    for path in CONF.glob(f"{group}/*.yaml")
    if path.stem.split("_")[0] in FAMILIES
)
USER = [{"role": "user", "content": "1 + 1?"}]
BOS, END = 1, 2
NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}<|{{ m['role'] }}|>{{ m['content'] | trim }}<|end|>{% endfor %}<|assistant|>"
)
FEW_SHOT = (
    "{% for e in examples %}{{ e['prompt'] }}={{ e['response'] }}\n{% endfor %}"
    "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'user' %}={% endif %}{% endfor %}"
)


def renderer(folder: Path, chat: ChatConfig | None = None, template: str | None = CHAT_TEMPLATE) -> Renderer:
    make_tokenizer(folder, template)
    return Renderer.load(folder, chat or ChatConfig())


def test_a_prompt_has_one_beginning_and_ends_where_the_answer_starts(tmp_path: Path) -> None:
    ids = renderer(tmp_path).prompt_ids(USER)
    assert ids.count(BOS) == 1
    assert (ids[0], ids[-1]) == (BOS, 5)  # <|assistant|>


def test_a_template_that_writes_bos_twice_gives_one(tmp_path: Path) -> None:
    twice = ChatConfig(template="{{ bos_token }}{{ bos_token }}{{ messages[0]['content'] }}")
    assert renderer(tmp_path, twice).prompt_ids(USER).count(BOS) == 1


@pytest.mark.parametrize("text", ["2", "2<|end|>", "2<|end|><|end|>", ""])
def test_an_answer_has_one_end_of_turn(tmp_path: Path, text: str) -> None:
    ids = renderer(tmp_path).response_ids(text)
    assert (ids.count(END), ids[-1]) == (1, END)


def test_prompt_and_answer_make_the_whole_conversation(tmp_path: Path) -> None:
    made = renderer(tmp_path)
    whole = made.tokenizer.apply_chat_template([*USER, {"role": "assistant", "content": "2"}], return_dict=False)
    assert made.prompt_ids(USER) + made.response_ids("2") == whole


def test_engines_stop_at_end_of_turn_and_at_end_of_sequence(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 2]}')
    template = CHAT_TEMPLATE.replace("<|end|>", "<|system|>")
    assert renderer(tmp_path, template=template).end_of_turn_ids == (2, 3, 7)


def test_a_system_message_is_put_first_where_there_is_none(tmp_path: Path) -> None:
    made = renderer(tmp_path, ChatConfig(system="Be brief."))
    assert made.prompt_text(USER) == "<bos><|system|>Be brief.<|end|><|user|>1 + 1?<|end|><|assistant|>"
    own = [{"role": "system", "content": "Sing."}, *USER]
    assert "Be brief." not in made.prompt_text(own)


def test_a_system_message_joins_the_first_turn_of_models_without_one(tmp_path: Path) -> None:
    made = renderer(tmp_path, ChatConfig(system="Be brief."), NO_SYSTEM)
    assert made.prompt_text(USER) == "<|user|>Be brief.\n\n1 + 1?<|end|><|assistant|>"


def test_examples_of_the_prompts_domain_are_shown(tmp_path: Path) -> None:
    examples = {"sum": [{"prompt": "2 + 2", "response": "4"}], "gcd": [{"prompt": "4, 6", "response": "2"}]}
    made = renderer(tmp_path, ChatConfig(template=FEW_SHOT, examples=examples), None)
    assert made.prompt_text(USER, "sum") == "2 + 2=4\n1 + 1?="
    assert made.prompt_text(USER, "other") == "1 + 1?="


def test_examples_become_turns_for_a_chat_template(tmp_path: Path) -> None:
    made = renderer(tmp_path, ChatConfig(examples={"sum": [{"prompt": "2 + 2", "response": "4"}]}))
    shown = "<|user|>2 + 2<|end|><|assistant|>4<|end|>"
    assert made.prompt_text(USER, "sum") == f"<bos>{shown}<|user|>1 + 1?<|end|><|assistant|>"


def test_a_template_that_ends_answers_with_text_leaves_end_of_sequence(tmp_path: Path) -> None:
    assert renderer(tmp_path, ChatConfig(template=FEW_SHOT), None).end_of_turn_id == END


def test_a_model_without_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=rf"{tmp_path} has no chat template; set chat.template"):
        renderer(tmp_path, template=None)


@pytest.mark.parametrize("template", ["{% for %}", "{{ raise_exception('never') }}", "{{ messages.nothing.there }}"])
def test_a_template_that_does_not_render_names_the_model(tmp_path: Path, template: str) -> None:
    with pytest.raises(ConfigError, match=rf"{tmp_path}: chat.template does not render"):
        renderer(tmp_path, ChatConfig(template=template))


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no tokenizer"):
        Renderer.load(tmp_path, ChatConfig())


def test_a_prompt_is_the_same_tomorrow(tmp_path: Path) -> None:
    """Templates may print the date; theirs is fixed."""
    dated = ChatConfig(template="{{ strftime_now('%d %b %Y') }}: {{ messages[0]['content'] }}")
    assert renderer(tmp_path, dated).prompt_text(USER) == "26 Jul 2024: 1 + 1?"


def test_the_fingerprint_follows_what_changes_ids(tmp_path: Path) -> None:
    plain = renderer(tmp_path / "a").fingerprint
    assert renderer(tmp_path / "b").fingerprint == plain
    assert renderer(tmp_path / "c", ChatConfig(system="Be brief.")).fingerprint != plain
    assert renderer(tmp_path / "d", template=NO_SYSTEM).fingerprint != plain


def family_folder(folder: Path, family: str) -> Path:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        packed = shared_data(f"tokenizers/{family}/{name}.gz").read_bytes()
        (folder / name).write_bytes(gzip.decompress(packed))
    return folder


@pytest.mark.parametrize("path", MODELS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_model_of_conf_begins_once_and_ends_its_turn_once(tmp_path: Path, path: Path) -> None:
    family = FAMILIES[path.stem.split("_")[0]]
    chat = OmegaConf.merge(OmegaConf.structured(ChatConfig), OmegaConf.load(path).get("model", {}).get("chat", {}))
    made = Renderer.load(family_folder(tmp_path, family), OmegaConf.to_object(chat))  # type: ignore[arg-type]
    bos = made.tokenizer.bos_token_id
    lines = "Two. That is all." if "\n" in made.stop_strings else "Two.\n\nThat is all."  # a line may be the turn
    for text in ("2", lines, "<think>"):
        prompt, response = made.prompt_ids(USER, "gcd"), made.response_ids(text)
        if family == "qwen3":
            assert bos is None or bos not in prompt + response
        else:
            assert prompt.count(bos) == 1
            assert (prompt[0], response.count(bos)) == (bos, 0)
        assert (response.count(made.end_of_turn_id), response[-1]) == (1, made.end_of_turn_id)


@pytest.mark.parametrize(("family", "system"), [("llama3_1", None), ("qwen3", "You are a helpful assistant.")])
def test_ids_equal_recorded_ones_of_real_families(tmp_path: Path, family: str, system: str | None) -> None:
    """Prompts of published runs: one <|begin_of_text|> for Llama, none and a system message for Qwen."""
    made = Renderer.load(family_folder(tmp_path, family), ChatConfig(system=system))
    recorded = shared_data("tokenizers/golden_chat_tokenization.jsonl").read_text("utf-8")
    golden = [json.loads(line) for line in recorded.splitlines()]
    cases = [case for case in golden if case["family"] == family]
    assert len(cases) > 20
    for case in cases:
        messages = [{"role": "user", "content": case["user"]}]
        assert made.prompt_text(messages) == case["templated"]
        assert made.prompt_ids(messages) == case["input_ids"]


def test_the_gemma_yaml_shows_four_solved_examples_a_domain() -> None:
    chat = OmegaConf.load(Path(__file__).parents[2] / "conf/source/gemma3_270m.yaml").model.chat
    assert {domain: len(pairs) for domain, pairs in chat.examples.items()} == dict.fromkeys(
        ["letter_counting", "products", "gcd", "chain_sum", "simple_equations", "spell_backward"], 4
    )
