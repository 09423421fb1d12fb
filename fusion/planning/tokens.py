"""How many rows and tokens pass through each step: prompts · samples · mean lengths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fusion.generators.base import Sampling
from fusion.planning.assumptions import Domain
from fusion.prompts.base import Prompts
from fusion.prompts.mixture import Mixture
from fusion.prompts.reasoning_gym import ReasoningGym

Domains = Mapping[str, Domain]


@dataclass(frozen=True, slots=True)
class Load:
    """What one step reads and writes."""

    rows: int = 0
    read: float = 0.0
    """Tokens that are read once: prompts, or whole conversations."""
    written: float = 0.0
    """Tokens that a model writes."""

    @property
    def tokens(self) -> float:
        return self.read + self.written

    @property
    def mean_length(self) -> float:
        """Of a prompt with its answer, when both are in a step's rows."""
        return self.tokens / self.rows if self.rows else 0.0


def expected(prompts: Prompts, told: Domains) -> dict[str, Domain]:
    """Domains of a prompt source: as configured under `planning`, or as far as the source knows without being read.

    `limit` takes prompts in turn from each domain, as the source does.
    """
    found = dict(told) or _known(prompts)
    return {name: found[name].scaled(rows) for name, rows in evenly_limited(found, prompts.limit).items()}


def evenly_limited(domains: Domains, limit: int) -> dict[str, int]:
    """Prompts of each domain when the first `limit` are taken in turn; 0: all."""
    left = {name: domain.rows for name, domain in domains.items()}
    if not limit or sum(left.values()) <= limit:
        return left
    taken = dict.fromkeys(left, 0)
    while limit and (open_ := [name for name, rows in left.items() if rows > taken[name]]):
        turns = max(1, min(limit // len(open_), *(left[name] - taken[name] for name in open_)))
        for name in open_[:limit]:
            taken[name] += turns
        limit -= turns * len(open_[:limit])
    return taken


def _known(prompts: Prompts) -> dict[str, Domain]:
    if isinstance(prompts, ReasoningGym):
        return {task: Domain(rows=prompts.per_task) for task in prompts.tasks}
    if isinstance(prompts, Mixture):
        merged: dict[str, Domain] = {}
        for part in prompts.parts.values():
            for name, domain in expected(part, {}).items():
                merged[name] = domain.scaled(domain.rows + merged[name].rows) if name in merged else domain
        return merged
    return {}


def prompts_load(domains: Domains) -> Load:
    """rows and rows · prompt_tokens."""
    return Load(
        sum(domain.rows for domain in domains.values()),
        sum(domain.rows * domain.prompt_tokens for domain in domains.values()),
    )


def responses_load(domains: Domains, sampling: Sampling) -> Load:
    """rows · samples answers; each prompt is read once, because its samples share the prefix cache."""
    rows, read, written = 0, 0.0, 0.0
    for name, domain in domains.items():
        samples = sampling.num_samples_of(name)
        rows += domain.rows * samples
        read += domain.rows * domain.prompt_tokens * bool(samples)
        written += domain.rows * samples * min(domain.answer_tokens, sampling.max_new_tokens)
    return Load(rows, read, written)


def rewards_load(domains: Domains, sampling: Sampling) -> Load:
    """Every answer is read with its prompt."""
    answers = responses_load(domains, sampling)
    prompts = sum(d.rows * sampling.num_samples_of(name) * d.prompt_tokens for name, d in domains.items())
    return Load(answers.rows, prompts + answers.written)


def training_load(domains: Domains, kind: str, max_length: int) -> Load:
    """One epoch: `sft` reads a prompt and its answer, `pairs` a prompt with either answer; none beyond max_length."""
    rows, read = 0, 0.0
    for domain in domains.values():
        number = domain.sft_rows if kind == "sft" else domain.pair_rows
        if not domain.sft_rows and not domain.pair_rows:
            number = domain.rows
        length = min(domain.prompt_tokens + domain.answer_tokens, max_length)
        rows += number
        read += number * length * (1 if kind == "sft" else 2)
    return Load(rows, read)
