"""What a judge's verdicts make of an answer: pointwise a number; pairwise the share of a win, from both orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial

from fusion.endpoint_fault import RequestFailed
from fusion.judging.judge_model import JudgeModel
from fusion.judging.judging import Judging, Mode
from fusion.judging.template import render
from fusion.judging.verdict import Judgement, Unparsable, choice, expected, number
from fusion.prompts.reasoning_gym import parsed_reference
from fusion.rewards.base import Candidate, Score
from fusion.schema import Outcome, prompt_id
from fusion.spending import BudgetSpent

Messages = Sequence[Mapping[str, str]]

FIRST = {"A": 1.0, "B": 0.0, "C": 0.5}
"""Values of the verdicts where the answer is shown before the baseline."""
SECOND = {"A": 0.0, "B": 1.0, "C": 0.5}
WORDS = {1.0: "win", 0.5: "tie", 0.0: "loss"}
DISAGREE = "the orders disagree"
"""In the detail of a pairwise score whose two verdicts contradict each other: a tie."""
DETAIL_CHARS = 300


class JudgeScorer:
    """An open judge."""

    def __init__(
        self, config: Judging, model: JudgeModel, baselines: Mapping[str, str] | None, threads: ThreadPoolExecutor
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
        is_mean = self._config.weighted or self._config.repeats > 1  # what disagrees then is no single verdict
        value = 0.5 if disagree and not is_mean else (first + second) / 2
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
