"""What a judge's verdicts make of an answer: pointwise a number; pairwise the share of a win, from both orders."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial

from fusion.endpoint_fault import RequestFailed
from fusion.judging.comparison import described
from fusion.judging.judge_model import JudgeModel
from fusion.judging.judging import Judging, Mode
from fusion.judging.template import render
from fusion.judging.verdict import Judgement, Reading, Unparsable, choice, expected, number, pooled, swapped
from fusion.prompts.reasoning_gym import parsed_reference
from fusion.rewards.base import Candidate, Score
from fusion.schema import Outcome, prompt_id
from fusion.spending import BudgetSpent

Messages = Sequence[Mapping[str, str]]
_Read = Callable[[Judgement], Reading]

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
        prompts = self._pairwise(messages, answer, baseline, reference)
        first, second = (self._model.ask(*pair)[0] for pair in zip(prompts, self._comparing(), strict=True))
        return first.value, second.value

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

    def _comparing(self) -> tuple[_Read, _Read]:
        """How replies are read where the answer is shown first, and where it is shown second."""
        read, readings = expected if self._config.weighted else choice, self._config.verdicts.readings
        return partial(read, readings=readings), partial(read, readings=swapped(readings))

    def _marking(self) -> _Read:
        low, high = self._config.low, self._config.high
        if self._config.weighted:
            return partial(expected, readings={str(n): Reading(float(n)) for n in range(int(low), int(high) + 1)})
        return partial(number, low=low, high=high)

    def _score(self, prompts: tuple[str, ...]) -> Score:
        readers = self._comparing() if self._config.mode is Mode.PAIRWISE else (self._marking(),)
        try:
            found = [self._model.ask(*pair) for pair in zip(prompts, readers, strict=True)]
        except RequestFailed as error:
            return Score(Outcome.TIMEOUT if error.is_timeout else Outcome.ERROR, None, str(error))
        except (Unparsable, BudgetSpent) as error:
            return Score(Outcome.ERROR, None, str(error))
        readings = [reading for reading, _ in found]
        if len(readings) == 1:
            return self._outcome(readings[0].value, found[0][1].text.strip()[-DETAIL_CHARS:])
        return self._compared(*readings)

    def _compared(self, first: Reading, second: Reading) -> Score:
        disagree = (first.value > 0.5) != (second.value > 0.5) or (first.value < 0.5) != (second.value < 0.5)
        both = pooled([first, second])
        is_tie = disagree and not self._config.averages_orders
        said = described(first, second, both.weight, disagree=disagree)
        return self._outcome(0.5 if is_tie else both.value, said)

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
