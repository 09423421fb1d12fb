"""What the terms of models and data sets ask of whoever publishes what was made with them, and where they clash.

A licence is an identifier as the Hugging Face Hub spells it. What follows from it is quoted from the licence's own
text, by section. This names what to read; it is not legal advice, and a licence that is not listed here says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

OPEN_TERMS = frozenset(
    ["apache-2.0", "mit", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "odc-by", "unlicense"]
)
"""Terms that allow any use, at most with attribution (cc-by-sa: under the same terms)."""


@dataclass(frozen=True, slots=True)
class Terms:
    """One licence that asks something of models trained on the text.

    Example: Terms("Gemma Terms of Use", "https://ai.google.dev/gemma/terms", "a model trained on ...", False)
    """

    name: str
    url: str
    asks: str
    """What a model trained on text under it must do; starts with a verb."""
    is_non_commercial: bool


TERMS: dict[str, Terms] = {
    "llama2": Terms(
        "Llama 2 Community License",
        "https://ai.meta.com/llama/license/",
        "may be no large language model but Llama 2 and its derivatives (section 1.b.v)",
        False,
    ),
    "deepseek": Terms(
        "DeepSeek License Agreement",
        "https://github.com/deepseek-ai/DeepSeek-V2/blob/main/LICENSE-MODEL",
        "passes on the use restrictions of its attachment A (sections 4 and 5)",
        False,
    ),
    "internlm": Terms(
        "InternLM's licence of weights",
        "https://github.com/InternLM/InternLM#license",
        "is free for research; commercial use is to be applied for",
        False,
    ),
    "llama3": Terms(
        "Meta Llama 3 Community License",
        "https://www.llama.com/llama3/license/",
        "may be no large language model but Llama 3 and its derivatives (section 1.b.v)",
        False,
    ),
    "llama3.1": Terms(
        "Llama 3.1 Community License",
        "https://www.llama.com/llama3_1/license/",
        "must have a name that begins with “Llama” where it is distributed (section 1.b.i); above 700 million monthly "
        "users a licence of Meta is needed (section 2)",
        False,
    ),
    "llama3.2": Terms(
        "Llama 3.2 Community License",
        "https://www.llama.com/llama3_2/license/",
        "must have a name that begins with “Llama” where it is distributed (section 1.b.i); above 700 million monthly "
        "users a licence of Meta is needed (section 2)",
        False,
    ),
    "gemma": Terms(
        "Gemma Terms of Use",
        "https://ai.google.dev/gemma/terms",
        "is a “Model Derivative” (section 1.1.e names training on synthetic output): whoever distributes it passes on "
        "the use restrictions, a copy of the terms and a notice (section 3.1)",
        False,
    ),
    "qwen": Terms(
        "Qwen License Agreement",
        "https://huggingface.co/Qwen/Qwen2.5-72B-Instruct/blob/main/LICENSE",
        "must show “Built with Qwen” or “Improved using Qwen” in its documentation where it is distributed; above 100 "
        "million monthly users a licence of Alibaba is needed",
        False,
    ),
    "tongyi-qianwen": Terms(
        "Tongyi Qianwen License Agreement",
        "https://github.com/QwenLM/Qwen/blob/main/Tongyi%20Qianwen%20LICENSE%20AGREEMENT",
        "must be checked against the agreement; above 100 million monthly users a licence of Alibaba is needed",
        False,
    ),
    "qwen-research": Terms(
        "Qwen Research License Agreement",
        "https://huggingface.co/Qwen/Qwen2.5-3B-Instruct/blob/main/LICENSE",
        "may be used for research only, and must show “Built with Qwen” or “Improved using Qwen”",
        True,
    ),
    "mrl": Terms(
        "Mistral AI Research License",
        "https://mistral.ai/licenses/MRL-0.1.md",
        "may be used for research only: outputs are under the same restriction as the model (sections 3 and 4.2)",
        True,
    ),
    "cc-by-nc-4.0": Terms(
        "CC BY-NC 4.0",
        "https://creativecommons.org/licenses/by-nc/4.0/",
        "may not be used commercially, as far as it is an adaptation of the text; attribution is due",
        True,
    ),
    "openai": Terms(
        "OpenAI Terms of Use",
        "https://openai.com/policies/row-terms-of-use/",
        "may not compete with OpenAI",
        False,
    ),
}


@dataclass(frozen=True, slots=True)
class Licensed:
    """Something that went into the data. Example: Licensed("gemma2_27b", "model", "gemma")"""

    name: str
    kind: str
    """model, data set or target"""
    licence: str
    """Identifiers joined by +; empty: not stated."""

    @property
    def identifiers(self) -> list[str]:
        return [one.strip().lower() for one in self.licence.split("+") if one.strip()]


def conflicts(parts: Iterable[Licensed], target: Licensed | None) -> list[str]:
    """Sentences, the gravest first: what is not stated, what clashes, what each licence asks.

    Args:
        parts: models whose answers are in the data, and the data sets of the prompts.
        target: the model that is trained; None: none is.
    """
    known = list(parts)
    everything = [*known, target] if target is not None else known
    return [*_clashes(known, target), *_unstated(everything), *_unknown(everything), *_asks(known, target)]


def holders(parts: Iterable[Licensed]) -> dict[str, list[str]]:
    """Licence -> who is under it, in order of appearance."""
    found: dict[str, list[str]] = {}
    for part in parts:
        for one in part.identifiers:
            found.setdefault(one, []).append(part.name)
    return found


def name_of(licence: str) -> str:
    """`Gemma Terms of Use` of `gemma`; an identifier that is not listed is its own name."""
    return TERMS[licence].name if licence in TERMS else licence


def _unstated(parts: Iterable[Licensed]) -> list[str]:
    return [
        f"No licence stated for {kind}{'s' if len(names) > 1 else ''} {', '.join(names)}: "
        "without one nothing is permitted that the law does not permit anyway."
        for kind, names in _by_kind(part for part in parts if not part.identifiers).items()
    ]


def _unknown(parts: Iterable[Licensed]) -> list[str]:
    return [
        f"{licence} ({', '.join(names)}) is not a licence that fusion knows; read it before you publish."
        for licence, names in holders(parts).items()
        if licence not in TERMS and licence not in OPEN_TERMS
    ]


def _clashes(parts: list[Licensed], target: Licensed | None) -> list[str]:
    held, found = holders(parts), []
    limited = {one: names for one, names in held.items() if one in TERMS and TERMS[one].is_non_commercial}
    for licence, names in limited.items():
        free = target if target is not None and _is_free(target) else None
        aim = "" if free is None else f", though {free.name} alone ({free.licence}) is not so limited"
        found.append(
            f"Conflict: {name_of(licence)} ({', '.join(names)}) forbids commercial use of this data and of models "
            f"trained on it{aim}. Leave {'it' if len(names) == 1 else 'them'} out, or publish for research."
        )
    llama = [one for one in held if one.startswith("llama3.")]
    named = [] if target is None else target.identifiers
    is_llama = any(one.startswith("llama3") for one in named)
    if llama and target is not None and not is_llama:
        who = ", ".join(name for one in llama for name in held[one])
        found.append(
            f"Conflict: the name of a model trained on this data must begin with “Llama” ({name_of(llama[0])}: {who}), "
            f"though {target.name} is no Llama."
        )
    if "llama3" in held and target is not None and not is_llama:
        found.append(
            f"Conflict: {name_of('llama3')} ({', '.join(held['llama3'])}) forbids using its outputs to improve "
            f"{target.name}, which is no Llama 3."
        )
    return found


def _asks(parts: list[Licensed], target: Licensed | None) -> list[str]:
    everything = [*parts, target] if target is not None else parts
    return [
        f"{TERMS[licence].name} ({', '.join(dict.fromkeys(names))}): a model trained on this data "
        f"{TERMS[licence].asks}. {TERMS[licence].url}"
        for licence, names in holders(everything).items()
        if licence in TERMS
    ]


def _is_free(target: Licensed) -> bool:
    """Whether it may be used commercially, as far as its licence is known."""
    known = [one for one in target.identifiers if one in TERMS or one in OPEN_TERMS]
    return bool(known) and not any(one in TERMS and TERMS[one].is_non_commercial for one in known)


def _by_kind(parts: Iterable[Licensed]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in parts:
        found.setdefault(part.kind, []).append(part.name)
    return found
