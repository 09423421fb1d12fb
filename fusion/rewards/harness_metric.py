"""Scores answers to a task of lm-evaluation-harness as the library does: its stop strings, filters and metrics.

The prompt's reference names task and question (see `fusion.prompts.harness_items`); the question itself is read from
the task's data, which is therefore needed where answers are scored. Where continuations are compared, an answer is the
JSON list of what the model says of them: `[[log-probability, whether it is greedy], ...]`. Task code runs in a child
process under a deadline: some uses SIGALRM, some takes long.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from fusion.errors import ConfigError
from fusion.prompts import continuations
from fusion.prompts.harness_index import COMPARED
from fusion.prompts.harness_items import MARK
from fusion.prompts.harness_task import HarnessTask, doc_hash, library
from fusion.rewards.base import Candidate, Reward, Score, Scorer
from fusion.rewards.child import Child, ChildFailed, ChildTimeout
from fusion.schema import Outcome
from fusion.step import Placement

NOTHING = "[invalid]"
"""What the library's filters give where they find no answer."""


@dataclass(kw_only=True)
class HarnessMetric(Reward):
    """The value of a metric; 1 is a pass, 0 a fail, what lies elsewhere is neither.

    Example: exact_match of gsm8k, "#### 7" expected: "So it is 7.\\n#### 7" is a pass, "7" a fail, "no answer found"
    """

    is_verifier: ClassVar[bool] = True

    task: HarnessTask = MISSING
    metric: str = ""
    """Empty: the task's first that is the mean of its questions' values, and better when higher."""
    filter: str = ""
    """How the answer is read; empty: the task's first way."""
    deadline_s: float = 30.0
    """Time for one answer; then the outcome is timeout."""

    def __post_init__(self) -> None:
        if self.deadline_s <= 0:
            raise ConfigError(f"rewards.harness_metric.deadline_s must be above 0, got {self.deadline_s}")

    def resolve(self) -> None:
        self.task.resolve()
        tasks = self.task.load().values()
        self.metric = _chosen("metric", self.metric, [_metrics(task) for task in tasks], self.task.name)
        self.filter = _chosen("filter", self.filter, [_filters(task) for task in tasks], self.task.name)

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[Scorer]:
        settings = {"task": asdict(self.task), "metric": self.metric, "filter": self.filter}
        with Child(f"{__name__}:load", self.deadline_s, json.dumps(settings)) as child:
            yield _HarnessScorer(child)


class _HarnessScorer:
    def __init__(self, child: Child) -> None:
        self._child = child

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [self._score(candidate) for candidate in candidates]

    def _score(self, candidate: Candidate) -> Score:
        reference = _parsed(candidate.reference)
        if reference is None:
            return Score(Outcome.NOT_APPLICABLE, None, "the prompt names no task of lm-evaluation-harness")
        try:
            answer = self._child.ask({**reference, "text": candidate.text})
        except ChildTimeout as error:
            return Score(Outcome.TIMEOUT, None, str(error))
        except ChildFailed as error:
            return Score(Outcome.ERROR, None, str(error))
        assert isinstance(answer, dict)
        value = float(answer["value"])
        outcome = {1.0: Outcome.PASS, 0.0: Outcome.FAIL}.get(value, Outcome.NOT_APPLICABLE)
        return Score(outcome, value, answer["detail"])


def load(settings: str) -> Callable[[dict[str, object]], object]:
    """The child's side: `{"lm_eval": task, "doc_id", "doc_hash", "text"}` -> `{"value", "detail"}`."""
    chosen = json.loads(settings)
    tasks = HarnessTask(**chosen["task"]).load()

    def score(question: dict[str, Any]) -> object:
        task = tasks[question[MARK]]
        doc = task.task_docs[question["doc_id"]]
        if doc_hash(doc) != question["doc_hash"]:
            raise ValueError(f"question {question['doc_id']} of {question[MARK]} is another one in the data found here")
        num_given = sum(len(texts) for _, texts in question.get(continuations.KEY, []))
        found = _filtered(_answers(task, doc, question["text"], num_given), task, chosen["filter"])
        value = float(task.process_results(doc, found)[chosen["metric"]])
        return {"value": value, "detail": _told(task, found)}

    return score


def cut(text: str, until: Sequence[str]) -> str:
    """The text before the first stop string. Example: cut("7\\n\\nQ: next", ["Q:", "\\n\\n"]) == "7" """
    ends = [text.find(stop) for stop in until if stop and stop in text]
    return text[: min(ends, default=len(text))]


def said(text: str) -> list[tuple[float, bool]]:
    """Log-probability of each continuation and whether it is greedy; the library logs them as strings.

    Example: said('[[-0.5, true], ["-2.25", "False"]]') == [(-0.5, True), (-2.25, False)]
    """
    return [(float(logprob), str(is_greedy) in ("True", "true")) for logprob, is_greedy in json.loads(text)]


def _answers(task: Any, doc: object, text: str, num_given: int) -> list[Any]:
    """The answer as the library holds it: one instance a request."""
    instance = library("api.instance").Instance
    if task.OUTPUT_TYPE in COMPARED:
        found = said(text)
        if len(found) != num_given:  # the library would compare what there is
            raise ValueError(f"numbers of {len(found)} continuations, of {num_given} that were given")
        return [instance("loglikelihood", doc, ("", ""), i, resps=[one]) for i, one in enumerate(found)]
    kwargs = task.config.generation_kwargs or {}
    until = kwargs.get("until") or []
    answer = cut(text, [until] if isinstance(until, str) else until)
    return [instance("generate_until", doc, ("", kwargs), 0, resps=[answer])]


def _filtered(answers: Sequence[Any], task: Any, name: str) -> list[Any]:
    next(one for one in task._filters if one.name == name).apply(answers)
    return [answer.filtered_resps[name] for answer in answers]


def _told(task: Any, found: Sequence[Any]) -> str:
    if task.OUTPUT_TYPE in COMPARED:
        return f"log-probabilities {', '.join(f'{logprob:.4g}' for logprob, _ in found)}"
    return "no answer found" if found[0] == NOTHING else f"read as {str(found[0])[:200]!r}"


def _metrics(task: Any) -> list[str]:
    """Metrics that are one number a question; others (bleu) are made of all answers together."""
    mean, rises = library("api.registry").get_aggregation("mean"), task.higher_is_better()
    return [name for name, how in task.aggregation().items() if how is mean and rises.get(name, True)]


def _filters(task: Any) -> list[str]:
    return [one.name for one in task._filters]


def _chosen(kind: str, wanted: str, of_tasks: Sequence[Sequence[str]], name: str) -> str:
    """`wanted`, or the first, where all tasks have it."""
    shared = [one for one in of_tasks[0] if all(one in others for others in of_tasks)]
    if not shared:
        why = "; metrics must be means of their questions' values, better when higher" if kind == "metric" else ""
        raise ConfigError(f"task {name} has no {kind} that can be used here{why}")
    if wanted and wanted not in shared:
        raise ConfigError(f"reward.{kind} is {wanted!r}; task {name} has {', '.join(shared)}")
    return wanted or shared[0]


def _parsed(reference: str | None) -> Mapping[str, object] | None:
    try:
        value = json.loads(reference or "")
    except ValueError:
        return None
    return value if isinstance(value, dict) and MARK in value else None
