"""A language model as judge, behind any OpenAI-compatible endpoint.

Pointwise it gives an answer a number. Pairwise it compares an answer with a baseline, in both orders, because judges
favour a place: if the orders agree the value is 1 (better), 0 (worse) or 0.5 (neither), if they disagree it is 0.5 and
the detail says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from functools import partial

from omegaconf import MISSING

from fusion.endpoint import Endpoint
from fusion.endpoint_config import EndpointConfig
from fusion.endpoint_fault import RequestFailed
from fusion.errors import ConfigError
from fusion.judging.judge_model import Asking, JudgeModel, LimitName
from fusion.judging.template import read_template, render
from fusion.judging.verdict import Judgement, Unparsable, choice, expected, number
from fusion.prompts.reasoning_gym import parsed_reference
from fusion.rewards.base import Candidate, Reward, Score
from fusion.schema import Outcome, prompt_id
from fusion.spending import Budget, BudgetSpent, anchored
from fusion.step import Placement
from fusion.stored import StoredResponses

Messages = Sequence[Mapping[str, str]]

FIRST = {"A": 1.0, "B": 0.0, "C": 0.5}
"""Values of the verdicts where the answer is shown before the baseline."""
SECOND = {"A": 0.0, "B": 1.0, "C": 0.5}
WORDS = {1.0: "win", 0.5: "tie", 0.0: "loss"}
DISAGREE = "the orders disagree"
"""In the detail of a pairwise score whose two verdicts contradict each other: a tie."""
DETAIL_CHARS = 300


class Mode(Enum):
    """What is judged at a time."""

    POINTWISE = "pointwise"
    PAIRWISE = "pairwise"


@dataclass(kw_only=True)
class Judge(Reward):
    """The judge's value: a number from `low` to `high`, or the share of a win over the baseline.

    A row that cannot be judged is an error (a timeout where the endpoint was silent), never a number: no reply of
    `attempts` can be read, the request fails, or the budget is spent ("budget spent: ..."). With a larger budget it is
    another reward, which finds in the cache what was judged before and asks for the rest.

    Example: mode PAIRWISE, value 0.5, detail "first: win, second: loss; the orders disagree"
    """

    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    revision: str = MISSING
    """What is known of the weights behind the name: a commit, a date, an image. Change it when they change."""
    mode: Mode = Mode.POINTWISE
    template: str = field(default="", metadata={"identity": False})
    """Jinja file; empty: the mode's own (fusion/judging/templates). See `fusion.judging.template`."""
    template_text: str = ""
    """What the file holds; filled in when the config is read."""
    low: float = 1.0
    high: float = 10.0
    """Range of a pointwise score."""
    weighted: bool = False
    """The mean of all verdicts under the judge's probabilities, which the endpoint must report."""
    pass_from: float | None = None
    """Value from which an answer passes, below it fails; null: the judge only measures."""
    show_reference: bool = True
    """Show the judge the prompt's gold answer, where there is one and it is no baseline."""
    baseline: StoredResponses | None = None
    """Pairwise: answers to compare with, one a prompt (the first); null: the prompts' references are the baseline."""
    baseline_source: str = ""
    """Whose of these answers; empty: anybody's."""
    domains: list[str] = field(default_factory=list)
    """Judge prompts of these domains; empty: of all."""
    temperature: float | None = 0.0
    """null: not sent, for models that refuse it."""
    max_new_tokens: int = 1024
    limit_name: LimitName = field(default=LimitName.MAX_TOKENS, metadata={"identity": False})
    attempts: int = 3
    """Replies asked for, the first included, until one can be read."""
    budget: Budget = field(default_factory=Budget)
    cache: str = field(default="~/.cache/fusion/judgements", metadata={"identity": False})
    """Folder or URL of judgements; workers on several machines save money if all see it."""

    def __post_init__(self) -> None:
        self.cache = anchored(self.cache)
        limits = {
            "high": (self.high > self.low, f"above low ({self.low:g})"),
            "attempts": (self.attempts >= 1, "at least 1"),
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "temperature": (self.temperature is None or self.temperature >= 0, "at least 0, or null"),
            "baseline_source": (not self.baseline_source or self.baseline is not None, "empty without a baseline"),
        }
        for name, (is_ok, wanted) in limits.items():
            if not is_ok:
                raise ConfigError(f"rewards.judge.{name} must be {wanted}, got {getattr(self, name)}")
        if self.weighted and self.mode is Mode.POINTWISE and (self.low % 1 or self.high % 1):
            raise ConfigError("rewards.judge.weighted=true needs whole numbers as low and high: each is one verdict")

    @property
    def is_verifier(self) -> bool:  # type: ignore[override]
        """Whether it says pass and fail."""
        return self.pass_from is not None

    def resolve(self) -> None:
        if not self.revision:
            raise ConfigError(
                f"the judge {self.endpoint.model} is not pinned; set rewards.judge.revision to what is known of its "
                "weights (a commit, a date)"
            )
        answers = ("answer",) if self.mode is Mode.POINTWISE else ("answer_a", "answer_b")
        self.template_text = read_template(self.template, self.mode.value, answers)
        if self.baseline is not None:
            self.baseline.resolve()

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[JudgeScorer]:
        """Raises:
        ConfigError: the API key is not where the config says; the baseline cannot be read.
        """
        threads = ThreadPoolExecutor(self.endpoint.concurrency, "judge")
        baselines = None if self.baseline is None else _baselines(self.baseline, self.baseline_source)
        try:
            with Endpoint(self.endpoint, self.budget) as endpoint:
                yield JudgeScorer(self, JudgeModel(endpoint, self._asking()), baselines, threads)
        finally:
            threads.shutdown(cancel_futures=True)

    def _asking(self) -> Asking:
        return Asking(
            identity=(self.endpoint.model, self.endpoint.answers_as, self.revision),
            temperature=self.temperature,
            max_new_tokens=self.max_new_tokens,
            limit_name=self.limit_name,
            logprobs=self.weighted,
            attempts=self.attempts,
            cache=self.cache,
        )


class JudgeScorer:
    """An open judge."""

    def __init__(
        self, config: Judge, model: JudgeModel, baselines: Mapping[str, str] | None, threads: ThreadPoolExecutor
    ) -> None:
        self._config = config
        self._model = model
        self._baselines = baselines
        self._threads = threads

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        """Raises:
        EngineError: the endpoint serves nobody.
        ConfigError: it refuses every request, or answers as another model.
        """
        asked = [self._asked(candidate) for candidate in candidates]
        distinct = dict.fromkeys(prompts for prompts in asked if not isinstance(prompts, Score))
        futures = {prompts: self._threads.submit(self._score, prompts) for prompts in distinct}
        _all_or_first_error(list(futures.values()))
        return [prompts if isinstance(prompts, Score) else futures[prompts].result() for prompts in asked]

    def compare(
        self, messages: Messages, answer: str, baseline: str, reference: str | None = None
    ) -> tuple[float, float]:
        """How far `answer` beats `baseline`, shown first and shown second; each in [0, 1], 1: it wins.

        Raises:
            Unparsable, RequestFailed, EngineError, ConfigError, BudgetSpent: as `JudgeModel.ask`.
        """
        first, second = self._pairwise(messages, answer, baseline, reference)
        return self._model.ask(first, self._reader(FIRST))[0], self._model.ask(second, self._reader(SECOND))[0]

    # -- private -------------------------------------------------------------------------------------------------

    def _asked(self, candidate: Candidate) -> tuple[str, ...] | Score:
        """What the judge is to be asked, or the score where there is nothing to ask."""
        if self._config.domains and candidate.domain not in self._config.domains:
            return Score(Outcome.NOT_APPLICABLE, None, f"domain {candidate.domain} is not judged")
        gold = candidate.reference
        reference = gold if gold and parsed_reference(gold) is None else None
        if self._config.mode is Mode.POINTWISE:
            return (self._pointwise(candidate.messages, candidate.text, reference),)
        baseline, shown = reference, None
        if self._baselines is not None:
            baseline, shown = self._baselines.get(prompt_id(candidate.messages, None)), reference
        if baseline is None:
            return Score(Outcome.NOT_APPLICABLE, None, "the prompt has no baseline")
        if candidate.text == baseline:
            return self._outcome(0.5, "the answer is the baseline")
        return self._pairwise(candidate.messages, candidate.text, baseline, shown)

    def _pointwise(self, messages: Messages, answer: str, reference: str | None) -> str:
        bounds = {"low": f"{self._config.low:g}", "high": f"{self._config.high:g}"}
        return self._rendered(messages, reference, {"answer": answer} | bounds)

    def _pairwise(self, messages: Messages, answer: str, baseline: str, reference: str | None) -> tuple[str, str]:
        first = self._rendered(messages, reference, {"answer_a": answer, "answer_b": baseline})
        second = self._rendered(messages, reference, {"answer_a": baseline, "answer_b": answer})
        return first, second

    def _rendered(self, messages: Messages, reference: str | None, shown: Mapping[str, str]) -> str:
        gold = reference if self._config.show_reference else None
        return render(self._config.template_text, {"messages": messages, "reference": gold, **shown})

    def _reader(self, values: Mapping[str, float] | None) -> Callable[[Judgement], float]:
        """How a reply is read; `values` of the verdicts are given where answers are compared."""
        if values is not None:
            return partial(expected if self._config.weighted else choice, values=values)
        low, high = self._config.low, self._config.high
        if self._config.weighted:
            return partial(expected, values={str(n): float(n) for n in range(int(low), int(high) + 1)})
        return partial(number, low=low, high=high)

    def _score(self, prompts: tuple[str, ...]) -> Score:
        readers = [None] if len(prompts) == 1 else [FIRST, SECOND]
        try:
            found = [self._model.ask(*pair) for pair in zip(prompts, map(self._reader, readers), strict=True)]
        except RequestFailed as error:
            return Score(Outcome.TIMEOUT if error.is_timeout else Outcome.ERROR, None, str(error))
        except (Unparsable, BudgetSpent) as error:
            return Score(Outcome.ERROR, None, str(error))
        values = [value for value, _ in found]
        if len(values) == 1:
            return self._outcome(values[0], found[0][1].text.strip()[-DETAIL_CHARS:])
        return self._compared(*values)

    def _compared(self, first: float, second: float) -> Score:
        disagree = (first > 0.5) != (second > 0.5) or (first < 0.5) != (second < 0.5)
        value = 0.5 if disagree and not self._config.weighted else (first + second) / 2
        detail = f"first: {WORDS.get(first, f'{first:.3f}')}, second: {WORDS.get(second, f'{second:.3f}')}"
        return self._outcome(value, f"{detail}; {DISAGREE}" if disagree else detail)

    def _outcome(self, value: float, detail: str) -> Score:
        if self._config.pass_from is None:
            return Score(Outcome.NOT_APPLICABLE, value, detail)
        return Score(Outcome.PASS if value >= self._config.pass_from else Outcome.FAIL, value, detail)


def _all_or_first_error(futures: Sequence[Future[Score]]) -> None:
    """Wait for all; when one raises, so does this, and what has not begun is not asked any more."""
    done, left = wait(futures, return_when=FIRST_EXCEPTION)
    for future in left:
        future.cancel()
    for future in done:
        future.result()


def _baselines(stored: StoredResponses, source: str) -> dict[str, str]:
    """Hash of a prompt's messages -> the first answer to it."""
    found: dict[str, str] = {}
    for answer in stored.answers():
        if not source or answer.source == source:
            found.setdefault(prompt_id(answer.prompt.messages, None), answer.text)
    if not found:
        raise ConfigError(f"{stored.path} holds no answers of {source!r}; set rewards.judge.baseline_source")
    return found
