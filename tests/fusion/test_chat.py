"""Rendering: one beginning, one end, a prompt that is a prefix."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing

from fusion.chat import Renderer
from fusion.errors import ConfigError
from fusion.models import ChatConfig
from tests.fusion.explicit.real_tokenizers import smollm2_folder
from tests.shared_data import shared_data
from tests.tiny import CHAT_TEMPLATE, make_tokenizer

CONF = Path(__file__).parents[2] / "conf"
MODELS = {
    f"{group}/{path.stem}": OmegaConf.load(path).model
    for group in ("source", "target")
    for path in sorted(CONF.glob(f"{group}/*.yaml"))
    if "model" in OmegaConf.load(path)
}
"""Every model that is asked or trained; answers that are stored (Llama-3.1-405B's) have none."""
FAMILIES = {
    "llama3": "llama3_1", "llama31": "llama3_1", "llama32": "llama3_1", "qwen15": "qwen3", "qwen2": "qwen3",
    "qwen25": "qwen3", "qwq": "qwen3", "sky": "qwen3", "r1": "deepseek_v3", "gemma2": "gemma3", "gemma3": "gemma3",
    "smollm2": "smollm2",
}  # fmt: skip
"""Beginning of a yaml's name -> the public tokenizer of its family: the same special tokens and template."""
DEFINED = sorted(name for name, model in MODELS.items() if model.get("chat", {}).get("template"))
"""Templates that the yaml itself holds: base models have none."""
NOT_AT_HAND = {
    "source/deepseek_coder_v2_0724": "DeepSeek-V2 writes its roles as words, DeepSeek-V3 as tokens",
    "source/deepseek_v2_chat_0628": "as DeepSeek-Coder-V2",
    "source/internlm25_20b": "InternLM2's tokenizer is code of its repository",
    "source/internlm2_20b": "as InternLM2.5",
    "source/mistral_large_2407": "Mistral's template is on the hub only, gated",
    "source/mistral_small_24b": "Mistral's Tekken tokenizer is on the hub only",
    "source/mixtral_8x7b": "Mistral's template is on the hub only",
    "source/nh2_solar_10b": "a Llama-2 vocabulary with two tokens of ChatML more, on the hub only",
    "source/phi3_medium_4k": "a Llama-2 vocabulary with tokens of its own, on the hub only",
    "source/phi4": "on the hub only",
    "source/starling_7b": "a Mistral vocabulary with OpenChat's end of turn, on the hub only",
    "source/yi15_34b": "on the hub only",
    "target/openchat35_7b": "as Starling",
    "target/phi4": "on the hub only",
}
"""Models whose template is not tried here, since no package has their tokenizer -> why another's will not do."""


def family_of(name: str) -> str | None:
    return FAMILIES.get(name.partition("/")[2].split("_")[0])


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
    if family == "smollm2":
        return smollm2_folder()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        packed = shared_data(f"tokenizers/{family}/{name}.gz").read_bytes()
        (folder / name).write_bytes(gzip.decompress(packed))
    if family == "deepseek_v3":  # its class, LlamaTokenizer, drops spaces in this version of transformers
        settings = folder / "tokenizer_config.json"
        named = json.loads(settings.read_text("utf-8")) | {"tokenizer_class": "PreTrainedTokenizerFast"}
        settings.write_text(json.dumps(named), "utf-8")
    return folder


def settings_of(name: str) -> ChatConfig:
    chat = OmegaConf.merge(OmegaConf.structured(ChatConfig), MODELS[name].get("chat", {}))
    return OmegaConf.to_object(chat)  # type: ignore[return-value]


def check_one_end(made: Renderer) -> None:
    lines = "Two. That is all." if "\n" in made.stop_strings else "Two.\n\nThat is all."  # a line may be the turn
    for text in ("2", lines, "<think>"):
        response = made.response_ids(text)
        assert made.tokenizer.bos_token_id not in response
        assert (response.count(made.end_of_turn_id), response[-1]) == (1, made.end_of_turn_id)


def test_every_model_of_conf_is_tried_or_says_why_not() -> None:
    tried = {name for name in MODELS if family_of(name)} | set(DEFINED)
    assert tried.isdisjoint(NOT_AT_HAND)
    assert tried | set(NOT_AT_HAND) == set(MODELS)


@pytest.mark.parametrize("name", [name for name in MODELS if family_of(name)])
def test_a_model_of_conf_begins_once_and_ends_its_turn_once(tmp_path: Path, name: str) -> None:
    family = str(family_of(name))
    made = Renderer.load(family_folder(tmp_path, family), settings_of(name))
    bos, prompt = made.tokenizer.bos_token_id, made.prompt_ids(USER, "gcd")
    if family == "qwen3":
        assert bos is None
    elif family == "smollm2":  # its "beginning" is what opens each turn
        assert prompt.count(bos) == made.prompt_text(USER).count("<|im_start|>")
    else:
        assert (prompt[0], prompt.count(bos)) == (bos, 1)
    check_one_end(made)


@pytest.mark.parametrize("name", DEFINED)
def test_a_template_of_conf_begins_once_and_ends_its_turn_once(tmp_path: Path, name: str) -> None:
    """Under a tokenizer that begins every text itself, as Llama's do."""
    make_tokenizer(tmp_path, None)
    core = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    core.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    core.save(str(tmp_path / "tokenizer.json"))
    made = Renderer.load(tmp_path, settings_of(name))
    assert made.tokenizer("a")["input_ids"][0] == BOS
    prompt = made.prompt_ids(USER, "gcd")
    assert (prompt[0], prompt.count(BOS)) == (BOS, 1)
    check_one_end(made)


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
