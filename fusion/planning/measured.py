"""What the answers that are committed say of those that are not: how long they will be, and how fast they come.

The prompt is the unit: the samples of one prompt are alike. Prompts are told apart by domain, since a mixture is read
domain by domain. Answers that are short are committed first: while few of the requests in flight are back, lengths come
out too low, which fades once many times as many are back as are in flight.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from fusion import location
from fusion.artifact import Artifact, open_artifact
from fusion.costs.account import Pace
from fusion.planning.estimate import Estimate, Stratum, rate, remainder
from fusion.schema import DROP, PROMPT, RESPONSE, prompt_of
from fusion.stages.generate import GenerateConfig
from fusion.step import Placement, Step

LEAST_WINDOWS = 6
"""Windows of time from which a speed is taken."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A step of answers that is under way. Tokens are those that its model writes."""

    prompts: int
    """Prompts with all their answers, on which this rests."""
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
        return Estimate(self.left.value + self.written, self.left.low + self.written, self.left.high + self.written)


def measured(store: str, step: Step, paces: Sequence[Pace], least: int) -> Measured | None:
    """None while fewer than `least` prompts are answered (all of them, where there are fewer), or for another step."""
    config = step.config
    if not isinstance(config, GenerateConfig):
        return None
    prompts = open_artifact(location.join(store, step.inputs["prompts"].folder), PROMPT)
    path = location.join(store, step.folder)
    done = _answered(path) if prompts is not None else {}
    if prompts is None or not done:
        return None
    asked = {p: (d, n) for p, d in domains_of(prompts).items() if (n := config.sampling.num_samples_of(d))}
    whole: dict[str, list[float]] = {}
    missing: Counter[str] = Counter()
    for prompt, (domain, samples) in asked.items():
        tokens, number = done.get(prompt, (0, 0))
        if number >= samples:
            whole.setdefault(domain, []).append(tokens / samples)
        else:
            missing[domain] += samples - number
    num_whole = sum(map(len, whole.values()))
    if num_whole < min(least, len(asked)):
        return None
    samples_of = dict(asked.values())
    # A prompt counts with the sum of its samples; one that is answered in part, with the part that is missing.
    strata = [
        Stratum([mean * samples_of[domain] for mean in whole.get(domain, [])], -(-missing[domain] // samples))
        for domain, samples in samples_of.items()
    ]
    left = remainder(strata)
    if left is None:
        return None
    written = sum(tokens for tokens, _ in done.values())
    lengths = {domain: sum(means) / len(means) for domain, means in whole.items()}
    return Measured(num_whole, written, left, missing.total(), speed(paces, step.placement), lengths)


def speed(paces: Sequence[Pace], placement: Placement) -> Estimate | None:
    """Tokens a second of one engine, by what engines on as many GPUs did."""
    alike = [pace for pace in paces if pace.gpus == placement.gpus]
    windows = [(seconds * pace.replicas, tokens) for pace in alike for seconds, tokens in pace.windows]
    return rate(windows) if len(windows) >= LEAST_WINDOWS else None


def domains_of(prompts: Artifact) -> dict[str, str]:
    """prompt_id -> domain."""
    table = _columns(prompts.path, [part.name for part in prompts.parts], ("prompt_id", "domain"), PROMPT.schema)
    return dict(zip(table["prompt_id"].to_pylist(), table["domain"].to_pylist(), strict=True))


def _answered(path: str) -> dict[str, tuple[int, int]]:
    """prompt_id -> tokens, answers; of committed rows. What was dropped for good is an answer without tokens."""
    parts = [f"parts/{name}" for name in location.names(location.join(path, "parts"))]
    rows = _columns(path, parts, ("prompt_id", "num_tokens"), RESPONSE.schema)
    sums = rows.group_by("prompt_id").aggregate([("num_tokens", "sum"), ([], "count_all")])
    columns = (sums[name].to_pylist() for name in ("prompt_id", "num_tokens_sum", "count_all"))
    found = {prompt: (int(tokens or 0), int(number)) for prompt, tokens, number in zip(*columns, strict=True)}
    dropped = [f"drops/{name}" for name in location.names(location.join(path, "drops"))]
    for row in _columns(path, dropped, ("key", "kind"), DROP.schema).to_pylist():
        if row["kind"] == "dropped":
            tokens, number = found.get(prompt := prompt_of(row["key"], RESPONSE), (0, 0))
            found[prompt] = (tokens, number + 1)
    return found


def _columns(path: str, names: Sequence[str], columns: Sequence[str], schema: pa.Schema) -> pa.Table:
    """Some columns of parts, without a look at the rest of them: this is a forecast, and must be quick."""
    tables = []
    for name in names:
        fs, inner = location.filesystem(location.join(path, name))
        with fs.open(inner, "rb") as file:
            try:
                tables.append(pq.read_table(file, columns=list(columns), use_threads=False, pre_buffer=False))
            except pa.ArrowException:  # a torn part, which the run will do again
                continue
    return pa.concat_tables(tables) if tables else pa.schema([schema.field(name) for name in columns]).empty_table()
