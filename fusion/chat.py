"""The one place that renders messages to token ids; training, generation and evaluation all use it.

A prompt is the template's text up to the start of the answer; a response is the answer and one end of turn. The two
are tokenised apart, so a prompt is always a prefix of the training sequence and no token spans the boundary. There is
exactly one beginning-of-sequence token where the tokenizer's family has one (Llama, Gemma), none where it has not
(Qwen, SmolLM2), and exactly one end of turn.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.fingerprint import canonical
from fusion.loading import LOADING
from fusion.models import ChatConfig
from fusion.schema import hash_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PROBE = "5ab1e0"
"""Text that no template holds, by which a template's own text is told from a message's."""

TODAY = datetime(2024, 7, 26)
"""The date for templates that print today's: Llama 3.1's default. Yesterday's prompts would otherwise differ."""

Messages = Sequence[Mapping[str, str]]


class Renderer:
    """Messages to token ids for one model.

    Args:
        tokenizer: the model's.
        chat: how its messages are rendered.
        name: names the model in errors.
        eos_ids: ids beside the tokenizer's own at which the model's generation config ends a sequence.

    Raises:
        ConfigError: there is no chat template, or it does not render.

    Example:
        renderer = Renderer.load(folder, ChatConfig())
        renderer.prompt_ids([{"role": "user", "content": "1 + 1?"}], "chain_sum") + renderer.response_ids("2")
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, chat: ChatConfig, name: str = "model", eos_ids: Sequence[int] = ()
    ) -> None:
        self.tokenizer = tokenizer
        self.chat = chat
        self.name = name
        self._eos_ids = tuple(eos_ids)
        if chat.template is None and not tokenizer.chat_template:
            raise ConfigError(
                f"{name} has no chat template; set chat.template in its yaml to a Jinja template over messages, "
                "examples, bos_token and add_generation_prompt (conf/source/gemma3_270m.yaml shows one)"
            )
        self._render([{"role": "user", "content": PROBE}], "", True)

    @classmethod
    def load(cls, folder: Path, chat: ChatConfig, trust_remote_code: bool = False) -> Renderer:
        """The renderer of a model folder.

        Raises:
            ConfigError: its tokenizer cannot be loaded, or as the constructor.
        """
        with LOADING:
            from transformers import AutoTokenizer

            try:
                tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trust_remote_code)
            except (OSError, ValueError) as error:
                raise ConfigError(f"{folder} holds no tokenizer that can be loaded: {error}") from error
        return cls(tokenizer, chat, str(folder), _generation_eos(folder))

    def prompt_text(self, messages: Messages, domain: str = "") -> str:
        """What the model sees, special tokens spelled out."""
        return self._render(self._with_system(messages, domain), domain, True)

    def prompt_ids(self, messages: Messages, domain: str = "") -> list[int]:
        """Token ids up to and with the start of the answer. `domain` chooses the solved examples.

        No messages: the answer is a text by itself, and before it stands what begins one: the beginning of sequence, or
        the end of sequence (of the text before) where the family has none.
        """
        if not messages:
            return self._text_start()
        return self._one_bos(self._encode(self.prompt_text(messages, domain)))

    def response_ids(self, text: str) -> list[int]:
        """Token ids of an answer, ended by exactly one end of turn."""
        ids = self._encode(text)
        while ids and ids[-1] in self.end_of_turn_ids:
            ids.pop()
        return [*ids, self.end_of_turn_id]

    @property
    def stop_strings(self) -> tuple[str, ...]:
        return tuple(self.chat.stop)

    @cached_property
    def end_of_turn_id(self) -> int:
        """The token with which the template ends an answer; end of sequence where it ends it with plain text."""
        eos = self.tokenizer.eos_token_id
        if not self._template_ends and eos is None:
            raise ConfigError(f"{self.name}: neither its template nor its tokenizer has an end of turn; set eos_token")
        return int(self._template_ends[0] if self._template_ends else eos)

    @property
    def template_ends_turn(self) -> bool:
        """Whether the template ends an answer with a token of its own, which then means "the answer is over"."""
        return bool(self._template_ends)

    @cached_property
    def end_of_turn_ids(self) -> tuple[int, ...]:
        """Ids at which an engine ends a response: end of turn and end of sequence."""
        eos = self.tokenizer.eos_token_id
        return tuple(sorted({self.end_of_turn_id, *self._eos_ids, *(() if eos is None else (int(eos),))}))

    @cached_property
    def fingerprint(self) -> str:
        """Changes when the ids of any prompt or response may change: template, settings, special tokens, vocabulary."""
        vocabulary = json.dumps(sorted(self.tokenizer.get_vocab().items()))
        settings = json.dumps(canonical(self.chat, "chat"), sort_keys=True)
        special = json.dumps([self.end_of_turn_ids, self.tokenizer.bos_token, self._adds_bos])
        return hash_text(self._template, settings, special, vocabulary)

    # -- private -------------------------------------------------------------------------------------------------

    @property
    def _template(self) -> str:
        return self.chat.template or str(self.tokenizer.get_chat_template())

    @cached_property
    def _template_ends(self) -> list[int]:
        """Special tokens that the template puts after an answer."""
        turn = [{"role": "user", "content": "u"}, {"role": "assistant", "content": PROBE}]
        _, _, suffix = self._render(turn, "", False).rpartition(PROBE)
        special = set(self.tokenizer.all_special_ids) | set(self.tokenizer.added_tokens_decoder)
        return [token for token in self._encode(suffix) if token in special]

    @cached_property
    def _adds_bos(self) -> bool:
        """Whether the tokenizer puts its beginning of sequence in front of plain text."""
        bos = self.tokenizer.bos_token_id
        return bos is not None and self.tokenizer(PROBE)["input_ids"][:1] == [bos]

    @cached_property
    def _has_system_role(self) -> bool:
        """Templates without one refuse it (Gemma 2) or leave it out."""
        try:
            return PROBE in self._render(
                [{"role": "system", "content": PROBE}, {"role": "user", "content": "u"}], "", True
            )
        except ConfigError:
            return False

    def _with_system(self, messages: Messages, domain: str) -> list[dict[str, str]]:
        turns = [dict(message) for message in messages]
        if self.chat.system is not None and (not turns or turns[0]["role"] != "system"):
            turns.insert(0, {"role": "system", "content": self.chat.system})
        if self.chat.template is None:
            first = 1 if turns and turns[0]["role"] == "system" else 0
            turns[first:first] = self._example_turns(domain)
        if len(turns) > 1 and turns[0]["role"] == "system" and not self._has_system_role:
            system, user, *rest = turns
            return [{"role": user["role"], "content": f"{system['content']}\n\n{user['content']}"}, *rest]
        return turns

    def _example_turns(self, domain: str) -> list[dict[str, str]]:
        """Solved examples as earlier turns, for a chat template that knows of no examples."""
        pairs = self.chat.examples.get(domain, [])
        roles = (("user", "prompt"), ("assistant", "response"))
        return [{"role": role, "content": pair[key]} for pair in pairs for role, key in roles]

    def _render(self, messages: Messages, domain: str, add_generation_prompt: bool) -> str:
        from jinja2 import TemplateError

        try:
            text = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                chat_template=self.chat.template,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                examples=[dict(example) for example in self.chat.examples.get(domain, [])],
                strftime_now=TODAY.strftime,
            )
        except (TemplateError, TypeError, ValueError) as error:
            where = "chat.template" if self.chat.template is not None else "its own chat template"
            raise ConfigError(f"{self.name}: {where} does not render: {type(error).__name__}: {error}") from error
        return str(text)

    def _encode(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _text_start(self) -> list[int]:
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        return [int(bos) if bos is not None else self.end_of_turn_id if eos is None else int(eos)]

    def _one_bos(self, ids: list[int]) -> list[int]:
        bos = self.tokenizer.bos_token_id
        if bos is None:
            return ids
        while ids[:2] == [bos, bos]:
            ids = ids[1:]
        return [bos, *ids] if self._adds_bos and ids[:1] != [bos] else ids


def _generation_eos(folder: Path) -> list[int]:
    """`eos_token_id` of generation_config.json: instruct models name their end of turn there, too."""
    path = folder / "generation_config.json"
    if not path.is_file():
        return []
    found = json.loads(path.read_text("utf-8")).get("eos_token_id")
    return found if isinstance(found, list) else [] if found is None else [found]
