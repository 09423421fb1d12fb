"""Ingest: from prompt sources to the PROMPT table, each prompt once.

A prompt goes on, or becomes a DROP row under the key its data set gave it (`file.jsonl:17`): empty, left out by a
filter, a benchmark's, a duplicate, a near-duplicate, or over the limit. What comes later looks only at what is left.
Evaluation prompts (input `exclude`) come first, so nothing like them is trained on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fusion.artifact import Artifact, Receipt
from fusion.errors import ConfigError, StepFailed
from fusion.prompts.base import Prompts, RawPrompt
from fusion.prompts.decontaminate import BenchmarkIndex, Decontamination
from fusion.prompts.dedup import Deduplicator, Likeness, Match
from fusion.prompts.filters import Refusal
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
    decontaminate: Decontamination | None = field(default=None, metadata={"absent_when": None})
    """Benchmarks whose items are left out; null: none."""

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
    admitted, drops = _admitted(config)
    fresh, repeats = _once_each(config, admitted, exclude)
    kept = config.prompts.within_limit(fresh)
    inside = {prompt.key for prompt in kept}
    limit = f"the first {len(kept)} are kept, spread evenly over domains"
    drops += repeats
    drops += [((prompt.key,), Reason.OVER_LIMIT, limit) for prompt in fresh if prompt.key not in inside]
    if not kept:
        raise StepFailed(f"no prompt is left of {len(drops)}; the first was dropped as {drops[0][1] if drops else '-'}")
    _commit(work, kept, drops)


def _admitted(config: IngestConfig) -> tuple[list[RawPrompt], list[Drop]]:
    """Prompts that pass by themselves, in the order they are read."""
    benchmarks = None if config.decontaminate is None else BenchmarkIndex(config.decontaminate)
    admitted: list[RawPrompt] = []
    drops: list[Drop] = []
    keys: set[str] = set()
    for prompt in config.prompts.read():
        if prompt.key in keys:
            raise ConfigError(f"two prompts are called {prompt.key}; a prompt source gives each its own key")
        keys.add(prompt.key)
        verdict = _verdict(config, prompt, benchmarks)
        if isinstance(verdict, Refusal):
            drops.append(((prompt.key,), verdict.reason, verdict.detail))
        else:
            admitted.append(verdict)
    return admitted, drops


def _verdict(config: IngestConfig, prompt: RawPrompt, benchmarks: BenchmarkIndex | None) -> RawPrompt | Refusal:
    if not prompt.asked.strip():
        return Refusal(Reason.EMPTY_PROMPT, "")
    admitted = config.prompts.admit(prompt)
    if benchmarks is None or isinstance(admitted, Refusal):
        return admitted
    overlap = benchmarks.overlap(admitted)
    return admitted if overlap is None else Refusal(Reason.IN_BENCHMARK, str(overlap))


def _once_each(
    config: IngestConfig, prompts: Sequence[RawPrompt], exclude: Artifact | None
) -> tuple[list[RawPrompt], list[Drop]]:
    """Prompts without repetitions, in the order they are read; of two alike, the one of higher precedence stays."""
    seen = Deduplicator(config.near_duplicates)
    if exclude is not None:
        for row in exclude.read().to_pylist():
            seen.take(f"evaluation prompt {row['prompt_id']}", row["messages"], row["reference"])
    drops: list[Drop] = []
    repeated: set[str] = set()
    for prompt in sorted(prompts, key=config.prompts.precedence):
        if match := seen.take(prompt.key, prompt.messages, prompt.reference):
            drops.append(((prompt.key,), _reason(match), match.key))
            repeated.add(prompt.key)
    return [prompt for prompt in prompts if prompt.key not in repeated], drops


def _reason(match: Match) -> Reason:
    return Reason.DUPLICATE_PROMPT if match.likeness is Likeness.EQUAL else Reason.NEAR_DUPLICATE_PROMPT


def _commit(work: Work, kept: Sequence[RawPrompt], drops: Sequence[Drop]) -> None:
    out = work.rows_out
    ids = [prompt.prompt_id or prompt_id(prompt.messages, prompt.reference) for prompt in kept]
    out.expect({*ids, *(str(key[0]) for key, *_ in drops)})
    for done, rows in _chunks(ids, kept):
        out.accept(Receipt(parts=out.folder.write(PROMPT.build(rows))))
        work.progress(done, len(kept))
    out.accept(Receipt(drops=out.folder.write_drops(drops)))


def _chunks(ids: Sequence[str], kept: Sequence[RawPrompt]) -> Iterator[tuple[int, list[dict[str, object]]]]:
    """Rows done so far, and the rows of one part."""
    for start in range(0, len(kept), PART_ROWS):
        end = min(start + PART_ROWS, len(kept))
        yield (
            end,
            [
                {
                    "prompt_id": own_id,
                    "messages": list(prompt.messages),
                    "domain": prompt.domain,
                    "dataset": prompt.dataset,
                    "reference": prompt.reference,
                }
                for own_id, prompt in zip(ids[start:end], kept[start:end], strict=True)
            ],
        )
