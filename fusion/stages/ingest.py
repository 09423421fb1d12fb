"""Ingest: from prompt sources to the PROMPT table, each prompt once.

A prompt goes on, or becomes a DROP row under the key its data set gave it (`file.jsonl:17`): empty, a duplicate, a
near-duplicate, or over the limit. Evaluation prompts (input `exclude`) come first, so nothing like them is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion.artifact import Artifact, Receipt
from fusion.errors import ConfigError, StepFailed
from fusion.prompts.base import Prompts, RawPrompt
from fusion.prompts.dedup import Deduplicator, Likeness, Match
from fusion.runtime import Runtime
from fusion.schema import PROMPT, Reason, prompt_id
from fusion.work import Work

PART_ROWS = 4096

Drop = tuple[Sequence[object], Reason, str]


@dataclass(kw_only=True)
class IngestConfig:
    """What is read and what counts as the same."""

    prompts: Prompts
    near_duplicates: float = 0.9
    """Jaccard similarity of word shingles from which two prompts count as one; 1: exact only."""

    def __post_init__(self) -> None:
        if not 0 < self.near_duplicates <= 1:
            raise ConfigError(f"near_duplicates must be in (0, 1], got {self.near_duplicates}")


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Output: PROMPT. Optional input `exclude`: a PROMPT table to be disjoint from."""
    for work in works:
        _ingest(work)


def _ingest(work: Work) -> None:
    config: IngestConfig = work.step.config  # type: ignore[assignment]
    exclude = work.table_in("exclude") if "exclude" in work.inputs else None
    fresh, drops = _sorted_out(config, exclude)
    kept = config.prompts.within_limit(fresh)
    inside = {prompt.key for prompt in kept}
    limit = f"the first {len(kept)} are kept, spread evenly over domains"
    drops += [((prompt.key,), Reason.OVER_LIMIT, limit) for prompt in fresh if prompt.key not in inside]
    if not kept:
        raise StepFailed(f"no prompt is left of {len(drops)}; the first was dropped as {drops[0][1] if drops else '-'}")
    _commit(work, kept, drops)


def _sorted_out(config: IngestConfig, exclude: Artifact | None) -> tuple[list[RawPrompt], list[Drop]]:
    seen = Deduplicator(config.near_duplicates)
    if exclude is not None:
        for row in exclude.read().to_pylist():
            seen.take(f"evaluation prompt {row['prompt_id']}", row["messages"], row["reference"])
    fresh: list[RawPrompt] = []
    drops: list[Drop] = []
    keys: set[str] = set()
    for prompt in config.prompts.read():
        if prompt.key in keys:
            raise ConfigError(f"two prompts are called {prompt.key}; a prompt source gives each its own key")
        keys.add(prompt.key)
        if not any(message["content"].strip() for message in prompt.messages if message["role"] == "user"):
            drops.append(((prompt.key,), Reason.EMPTY_PROMPT, ""))
        elif match := seen.take(prompt.key, prompt.messages, prompt.reference):
            drops.append(((prompt.key,), _reason(match), match.key))
        else:
            fresh.append(prompt)
    return fresh, drops


def _reason(match: Match) -> Reason:
    return Reason.DUPLICATE_PROMPT if match.likeness is Likeness.EQUAL else Reason.NEAR_DUPLICATE_PROMPT


def _commit(work: Work, kept: Sequence[RawPrompt], drops: Sequence[Drop]) -> None:
    out = work.rows_out
    rows = [
        {
            "prompt_id": prompt_id(prompt.messages, prompt.reference),
            "messages": list(prompt.messages),
            "domain": prompt.domain,
            "dataset": prompt.dataset,
            "reference": prompt.reference,
        }
        for prompt in kept
    ]
    out.expect({str(row["prompt_id"]) for row in rows} | {str(key[0]) for key, *_ in drops})
    for start in range(0, len(rows), PART_ROWS):
        parts = out.folder.write(PROMPT.build(rows[start : start + PART_ROWS]))
        out.accept(Receipt(parts=parts))
        work.progress(min(start + PART_ROWS, len(rows)), len(rows))
    out.accept(Receipt(drops=out.folder.write_drops(drops)))
