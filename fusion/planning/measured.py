"""What the answers that are committed say of those that are not: how long they will be, and how fast they come.

The prompt is the unit: the samples of one prompt are alike. Prompts are told apart by domain, since a mixture is read
domain by domain. Answers that are short are committed first: while few of the requests in flight are back, lengths come
out too low, which fades once many times as many are back as are in flight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import pyarrow as pa
import pyarrow.parquet as pq

from fusion import location
from fusion.artifact import Artifact, open_artifact
from fusion.costs.account import Pace
from fusion.planning.estimate import Estimate, Stratum, rate, remainder
from fusion.schema import DROP, PROMPT, RESPONSE, prompt_of
from fusion.stages.generate import GenerateConfig
from fusion.step import Placement, Step

MOST_PARTS = 300
"""Parts that are read of one step: a plan must be quick."""
LEAST_WINDOWS = 6
"""Windows of time from which a speed is taken."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A step of answers that is under way. Tokens are those that its model writes."""

    prompts: int
    """Prompts with all their answers, on which this rests: of many, a sample."""
    written: int
    """Tokens that are committed."""
    left: Estimate
    """Tokens that are still to write."""
    rows_left: int
    speed: Estimate | None
    """Tokens a second of one engine; None: too little time was seen."""
    lengths: Mapping[str, float]
    """Mean tokens of an answer, by domain."""

    @property
    def tokens(self) -> Estimate:
        """Of all answers, when the step is done."""
        return self.left.plus(self.written)


def measured(store: str, step: Step, paces: Sequence[Pace], least: int) -> Measured | None:
    """None while fewer than `least` prompts are answered (all of them, where there are fewer), or for another step."""
    config = step.config
    if not isinstance(config, GenerateConfig):
        return None
    prompts = open_artifact(location.join(store, step.inputs["prompts"].folder), PROMPT)
    path = location.join(store, step.folder)
    if prompts is None:
        return None
    done, times = _answered(path)
    if not done:
        return None
    asked = {p: (d, n) for p, d in domains_of(prompts).items() if (n := config.sampling.num_samples_of(d))}
    samples = dict(asked.values())
    missing = Counter[str]()
    for domain, number in asked.values():
        missing[domain] += number
    missing.subtract(asked[prompt][0] for prompt in _dropped(path) if prompt in asked)
    whole: dict[str, list[float]] = {}
    rows = Counter[str]()
    for prompt, (tokens, number) in done.items():
        if prompt in asked:
            domain, wanted = asked[prompt]
            rows[domain] += number
            if number >= wanted:
                whole.setdefault(domain, []).append(tokens)
    left_of = {domain: max(0, missing[domain] - round(rows[domain] * times)) for domain in samples}
    num_whole = sum(map(len, whole.values()))
    if num_whole < min(least, len(asked)):
        return None
    # A prompt counts with the sum of its samples; what is missing of one that is answered in part, as a part of one.
    strata = [Stratum(whole.get(domain, []), -(-left_of[domain] // number)) for domain, number in samples.items()]
    left = remainder(strata)
    if left is None:
        return None
    written = round(sum(tokens for tokens, _ in done.values()) * times)
    lengths = {domain: fmean(sums) / samples[domain] for domain, sums in whole.items()}
    return Measured(num_whole, written, left, sum(left_of.values()), speed(paces, step.placement), lengths)


def speed(paces: Sequence[Pace], placement: Placement) -> Estimate | None:
    """Tokens a second of one engine, by what engines on as many GPUs did."""
    alike = [pace for pace in paces if pace.gpus == placement.gpus]
    windows = [(seconds * pace.replicas, tokens) for pace in alike for seconds, tokens in pace.windows]
    return rate(windows) if len(windows) >= LEAST_WINDOWS else None


def domains_of(prompts: Artifact) -> dict[str, str]:
    """prompt_id -> domain."""
    table = _columns(prompts.path, [part.name for part in prompts.parts], ("prompt_id", "domain"), PROMPT.schema)
    return dict(zip(table["prompt_id"].to_pylist(), table["domain"].to_pylist(), strict=True))


def _answered(path: str) -> tuple[dict[str, tuple[int, int]], float]:
    """prompt_id -> tokens, answers of committed rows; and how many times as many parts there are as were read.

    Parts are named by their content's hash, so the first of them are a sample of them all.
    """
    there = location.names(location.join(path, "parts"))
    read = there[:MOST_PARTS]
    rows = _columns(path, [f"parts/{name}" for name in read], ("prompt_id", "num_tokens"), RESPONSE.schema)
    sums = rows.group_by("prompt_id").aggregate([("num_tokens", "sum"), ([], "count_all")])
    columns = (sums[name].to_pylist() for name in ("prompt_id", "num_tokens_sum", "count_all"))
    found = {prompt: (int(tokens or 0), int(number)) for prompt, tokens, number in zip(*columns, strict=True)}
    return found, len(there) / max(1, len(read))


def _dropped(path: str) -> list[str]:
    """The prompt of each answer that was dropped for good."""
    names = [f"drops/{name}" for name in location.names(location.join(path, "drops"))]
    rows = _columns(path, names, ("key", "kind"), DROP.schema).to_pylist()
    return [prompt_of(row["key"], RESPONSE) for row in rows if row["kind"] == "dropped"]


def _columns(path: str, names: Sequence[str], columns: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Some columns of parts, without a look at the rest of them: this is a forecast, and must be quick."""
    tables = []
    for name in names:
        fs, inner = location.filesystem(location.join(path, name))
        with fs.open(inner, "rb") as file:
            try:
                tables.append(pq.read_table(file, columns=list(columns), use_threads=False, pre_buffer=False))
            except (pa.ArrowException, OSError):  # a torn or damaged part, which the run will do again
                continue
    return pa.concat_tables(tables) if tables else pa.schema([schema.field(name) for name in columns]).empty_table()
