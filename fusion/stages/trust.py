"""Trust: a reward passes its gates on a sample of answers before it scores them all.

The sample is the answers to the prompts with the lowest hashes, so it is the same in every run. It is scored by one
worker, which also asks the gates; if one fails, nothing is committed and the step ends with what to type. A step is one
reward; nothing depends on what it makes, only on its having been made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from fusion.artifact import Artifact, PartFolder, Receipt
from fusion.errors import StepFailed
from fusion.modelfiles import DEFAULT_CACHE
from fusion.rewards.base import Candidate, Reward, Scorer
from fusion.runtime import Runtime
from fusion.schema import RESPONSE, TRUST, Outcome, hash_text
from fusion.selection.verdicts import Verdicts
from fusion.step import Placement
from fusion.trust import GATES, TrustConfig, demand, run_gates
from fusion.work import Work


@dataclass(kw_only=True)
class TrustStepConfig:
    """One reward and the gates that it is to pass."""

    reward: Reward
    name: str
    """Its name in the config."""
    trust: TrustConfig = field(default_factory=TrustConfig)
    sources: list[str] = field(default_factory=list)
    verdicts: Verdicts = field(default_factory=Verdicts)
    """Who says which answers are right, as the selection rule has it."""
    verifiers: dict[str, Reward] = field(default_factory=dict)
    """Those of them that there are, by name. They judge the sample here: to wait for what they say of all answers would
    be to wait for the stream that this step is to let begin."""
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})
    """Folder of prepared models on the machine that scores."""


@dataclass(frozen=True, slots=True)
class TrustTask:
    """Where the sample lies, and where the results go. Texts stay in the store."""

    sample: frozenset[str]
    """Prompt ids."""
    prompts: tuple[PartFolder, tuple[str, ...]]
    responses: tuple[tuple[PartFolder, tuple[str, ...]], ...]
    """Of each source, the parts that hold answers to the sample."""
    out: PartFolder


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Inputs: `prompts`; `responses:<source>` (may be streamed). Output: TRUST.

    Raises:
        StepFailed: a gate failed that is not overridden, or the run is being ended.
    """
    for work in works:
        config = _config(work)
        keys = {f"{config.name}/{gate}" for gate in GATES}
        work.rows_out.expect(keys)
        if not all(work.rows_out.is_done(key) for key in keys):
            pool = TrustPool(config)
            for done in runtime.stream([(pool, work.step.placement)], [_task(work)], f"trust {config.name}"):
                for receipt in done.receipts.values():
                    work.rows_out.accept(receipt)
        work.progress(len(keys), len(keys))


@dataclass(frozen=True)
class TrustPool:
    """How to open the scorer on a worker."""

    config: TrustStepConfig

    @contextmanager
    def open(self, placement: Placement) -> Iterator[TrustSession]:
        config = self.config
        with ExitStack() as stack:
            scorer = stack.enter_context(config.reward.open(config.cache, placement))
            opened = {name: one.open(config.cache, placement) for name, one in sorted(config.verifiers.items())}
            yield TrustSession(scorer, {name: stack.enter_context(one) for name, one in opened.items()}, config)


class TrustSession:
    """The worker's side: reads the sample, asks the gates, commits their results."""

    def __init__(self, scorer: Scorer, verifiers: Mapping[str, Scorer], config: TrustStepConfig) -> None:
        self._scorer = scorer
        self._verifiers = verifiers
        self._config = config

    def process(self, task: object) -> Mapping[str, Receipt]:
        """Raises:
        StepFailed: a gate failed that is not overridden.
        """
        assert isinstance(task, TrustTask)
        name, trust, candidates = self._config.name, self._config.trust, _candidates(task)
        results = run_gates(name, self._scorer, candidates, trust, self._right(candidates))
        demand(name, results, trust.override)
        rows = [{"reward": name} | {column: getattr(r, column) for column in TRUST.schema.names[1:]} for r in results]
        return {task.out.path: Receipt(parts=task.out.write(TRUST.build(rows)))}

    def _right(self, candidates: Sequence[Candidate]) -> dict[tuple[str, str, int], bool]:
        """Whether each answer is right, of those that a verifier decides."""
        found = {}
        for domain in sorted({one.domain for one in candidates}):
            left = [one for one in candidates if one.domain == domain]
            for name in self._config.verdicts.of(domain):
                if name not in self._verifiers:
                    continue
                scores = list(zip(left, self._verifiers[name].score(left), strict=True))
                left = [one for one, score in scores if score.outcome is Outcome.NOT_APPLICABLE]
                for one, score in scores:
                    if score.outcome in (Outcome.PASS, Outcome.FAIL):
                        key = (one.prompt_id, one.source, one.sample_index)
                        found[key] = score.outcome is Outcome.PASS
        return found


def _task(work: Work) -> TrustTask:
    config, prompts = _config(work), work.table_in("prompts")
    ids = prompts.read([]).column("prompt_id").to_pylist()
    sample = frozenset(sorted(ids, key=lambda name: hash_text("trust", name))[: config.trust.sample_prompts])
    return TrustTask(
        sample=sample,
        prompts=(prompts.folder, tuple(part.name for part in prompts.parts)),
        responses=tuple(_parts(work, source, sample) for source in config.sources),
        out=work.rows_out.folder,
    )


def _parts(work: Work, source: str, sample: frozenset[str]) -> tuple[PartFolder, tuple[str, ...]]:
    """Parts with answers to the sample; of a source that still answers, as many as are needed to have them all."""
    rows = work.rows_in(f"responses:{source}")
    names, missing = [], set(sample)
    for part in rows.stream():
        if work.stopped():
            raise StepFailed("stopped; the same command asks the gates again")
        if found := sample.intersection(rows.folder.read(part.name, ["prompt_id"]).column("prompt_id").to_pylist()):
            names.append(part.name)
            missing -= found
        # A part holds prompts whole, but for those of an interrupted run; what is sealed is read to its end.
        if not missing and not isinstance(rows, Artifact):
            break
    return rows.folder, tuple(names)


def _candidates(task: TrustTask) -> list[Candidate]:
    """Answers of the sample, ordered by key."""
    columns = ["prompt_id", "messages", "domain", "dataset", "reference"]
    prompts = {row["prompt_id"]: row for row in _rows(*task.prompts, task.sample, columns)}
    found = []
    for folder, names in task.responses:
        for row in _rows(folder, names, task.sample, [*RESPONSE.key, "text", "finish_reason"]):
            prompt = prompts[row["prompt_id"]]
            found.append(Candidate(**(prompt | {"messages": tuple(prompt["messages"])} | row)))
    return sorted(found, key=lambda one: (one.prompt_id, one.source, one.sample_index))


def _rows(
    folder: PartFolder, names: Sequence[str], sample: frozenset[str], columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    wanted = pa.array(sorted(sample), pa.string())
    for name in names:
        table = folder.read(name, columns)
        yield from table.filter(pc.is_in(table.column("prompt_id"), wanted)).to_pylist()


def _config(work: Work) -> TrustStepConfig:
    config = work.step.config
    assert isinstance(config, TrustStepConfig)
    return config
