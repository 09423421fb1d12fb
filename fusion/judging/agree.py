"""`fusion agree`: how far judges agree with labels, before anything is believed that they say of models.

Every labelled set at hand is read; stored raters are compared with its labels, and each judge of `rewards` is asked
about its pairs, in both orders. What a judge said stays in its cache, so the same command again asks nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.endpoint_fault import RequestFailed
from fusion.errors import ConfigError
from fusion.evaluation.intervals import Interval
from fusion.judging.agreement import Agreement, LabelledPair, agreement
from fusion.judging.judging import Judging, Mode
from fusion.judging.labelled import LabelledSet, TextPair
from fusion.judging.stored_agreement import Rater, agreements
from fusion.judging.verdict import Unparsable
from fusion.spending import BudgetSpent

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from fusion.config import Config
    from fusion.judging.scorer import JudgeScorer

ALL = "all"
ASKED_AT_A_TIME = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One rater on one set or part of it. Shares in [0, 1].

    Example: Row("LLMBar", "all", "m", 871, 2, Interval(0.71, ...), Interval(0.74, ...), Interval(0.9, ...), 0.6, 12)
    """

    title: str
    group: str
    rater: str
    num_pairs: int
    num_ties: int
    """Pairs of which the rater prefers none, or whose two orders disagree."""
    accuracy: Interval | None
    """Of pairs that the labels decide; a tie of the rater is half right."""
    accuracy_decided: Interval | None = None
    """Of those, where the rater decides too; None: a stored rater, or nothing is decided."""
    consistency: Interval | None = None
    """Both orders give the same; None: a stored rater, which was asked once."""
    first_place: float | None = None
    """Among pairs whose orders contradict each other, how often the place shown first wins."""
    num_undecided: int = 0
    """Pairs that could not be judged: no reply could be read, a request failed, the budget was spent."""


def carry_out(tree: DictConfig) -> int:
    """Print the table, and leave it in runs/NAME/agreement.json.

    Raises:
        ConfigError: no set is at hand; a reward is no judge.
    """
    from rich.console import Console

    from fusion.config import objects
    from fusion.judging.agree_table import show
    from fusion.revisions import RUN_WAIT_S, demand, pin

    demand(pin(tree, RUN_WAIT_S))
    config = objects(tree)
    judges = {name: _pairwise(name, reward) for name, reward in sorted(config.rewards.items())}
    if not any(one.path for one in config.labelled.values()):
        raise ConfigError(
            "no labelled pairs are at hand; set data=FOLDER to a folder that holds them, and labelled=[...] to sets of "
            "conf/labelled"
        )
    rows, notes = measured(config, judges)
    folder = Path(config.runs) / config.name
    folder.mkdir(parents=True, exist_ok=True)
    found = {"rows": [asdict(row) for row in rows], "notes": notes}
    (folder / "agreement.json").write_text(json.dumps(found, indent=2, ensure_ascii=False))
    show(rows, notes, Console())
    return 0


def measured(config: Config, judges: Mapping[str, Judging]) -> tuple[list[Row], list[str]]:
    """Rows of all sets that are at hand, and what a reader must know."""
    rows: list[Row] = []
    notes: list[str] = []
    for name, labelled in config.labelled.items():
        if not labelled.path:
            notes.append(f"{labelled.title} is not at hand below data={config.data}: left out.")
            continue
        notes.append(f"{labelled.title}: labels of {labelled.labels_of}.")
        rows += _stored(labelled)
        if judges and not labelled.has_texts:
            notes.append(f"{labelled.title} holds scores without texts, so no judge was asked.")
        for judge_name, judge in judges.items() if labelled.has_texts else ():
            placement = config.cluster.placement("rewards" if judge.uses_model else "verifiers", judge_name)
            with _opened(judge, placement) as scorer:
                rows += _asked(scorer, labelled, judge_name, config.limit)
        if not labelled.raters and not (judges and labelled.has_texts):
            notes.append(f"{name}: nobody to compare; name a judge: reward=[judge] rewards.judge.endpoint.url=...")
    return rows, notes


def judged(scorer: JudgeScorer, pairs: Sequence[TextPair]) -> list[tuple[TextPair, LabelledPair | None]]:
    """Each pair with its verdicts; None: it could not be judged.

    Raises:
        EngineError, ConfigError: the judge serves nobody.
    """

    def one(pair: TextPair) -> LabelledPair | None:
        try:
            messages = [{"role": "user", "content": pair.question}]
            return LabelledPair(pair.label, *scorer.compare(messages, pair.first, pair.second))
        except (Unparsable, RequestFailed, BudgetSpent):
            return None

    with ThreadPoolExecutor(ASKED_AT_A_TIME) as threads:
        return list(zip(pairs, threads.map(one, pairs), strict=True))


# -- private -----------------------------------------------------------------------------------------------------------


def _pairwise(name: str, reward: object) -> Judging:
    if not isinstance(reward, Judging):
        raise ConfigError(
            f"rewards.{name} compares no two answers; name judges: reward=[judge] or reward=[local_judge]"
        )
    judge = replace(reward, mode=Mode.PAIRWISE)
    judge.resolve()
    return judge


@contextmanager
def _opened(judge: Judging, placement: object) -> Iterator[JudgeScorer]:
    from fusion.judging.scorer import JudgeScorer
    from fusion.modelfiles import DEFAULT_CACHE
    from fusion.step import Placement

    assert isinstance(placement, Placement)
    with judge.open(DEFAULT_CACHE, placement) as scorer:
        assert isinstance(scorer, JudgeScorer)
        yield scorer


def _stored(labelled: LabelledSet) -> Iterator[Row]:
    for name, rater in labelled.raters.items():
        (found,) = agreements(
            labelled.path, rater.label or labelled.label, [Rater(name, rater.first, rater.second)],
            rater.where or labelled.where,
        )  # fmt: skip
        yield Row(labelled.title, ALL, name, found.num_pairs, found.num_ties, found.accuracy)


def _asked(scorer: JudgeScorer, labelled: LabelledSet, name: str, limit: int) -> Iterator[Row]:
    verdicts = judged(scorer, labelled.pairs(limit))
    groups = sorted({pair.group for pair, _ in verdicts if pair.group})
    for group in [ALL, *(groups if len(groups) > 1 else ())]:
        chosen = [verdict for pair, verdict in verdicts if group in (ALL, pair.group)]
        decided = [verdict for verdict in chosen if verdict is not None]
        undecided = len(chosen) - len(decided)
        if not decided:
            yield Row(labelled.title, group, name, 0, 0, None, num_undecided=undecided)
            continue
        yield _row(labelled.title, group, name, agreement(decided), undecided)


def _row(title: str, group: str, name: str, found: Agreement, undecided: int) -> Row:
    first_place = None if found.first_place is None else found.first_place.value
    return Row(
        title, group, name, found.num_pairs, found.num_judge_ties, found.accuracy, found.accuracy_decided,
        found.consistency, first_place, undecided,
    )  # fmt: skip
