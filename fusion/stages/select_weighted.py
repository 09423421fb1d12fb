"""Select FuseRL's rows: every source's best answer, or best and worst, by weight -> WEIGHTED_SFT, WEIGHTED_PAIR."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from fusion.errors import ConfigError
from fusion.runtime import Runtime
from fusion.selection.base import Selection
from fusion.selection.every_source import EverySource
from fusion.selection.weighted import weighted_answers, weighted_pairs
from fusion.stages.answer_texts import AnswerTexts
from fusion.stages.select import SelectConfig, check, commit, prompt_frame, scored_frame
from fusion.training_tables import WEIGHTED_PAIR, WEIGHTED_SFT
from fusion.work import Work

log = logging.getLogger(__name__)


def weighing(rule: Selection) -> EverySource:
    """Raises:
    ConfigError: the rule has no weights.
    """
    if not isinstance(rule, EverySource):
        raise ConfigError(
            f"this recipe weighs every source's answer, and {type(rule).__name__} knows no weights; type "
            "selection=every_source"
        )
    return rule


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """Inputs: `prompts`; `responses:<source>` and `rewards:<source>:<reward>` for each."""
    for work in works:
        config = work.step.config
        assert isinstance(config, SelectConfig)
        check(config)
        rule = weighing(config.selection)
        inputs = {name: work.table_in(name) for name in work.inputs}
        frame, prompts = scored_frame(inputs, config.sources, config.rewards), prompt_frame(inputs)
        texts = AnswerTexts(inputs, config.sources, config.rewards)
        if work.step.produces is WEIGHTED_SFT:
            selected = weighted_answers(frame, prompts, rule)
            rows = WEIGHTED_SFT.build(texts.sft_rows(selected.rows, config.rule))
        else:
            selected = weighted_pairs(frame, prompts, rule)
            rows = WEIGHTED_PAIR.build(texts.pair_rows(selected.rows, config.rule))
        commit(work.rows_out, rows, selected.drops, prompts)
        mean = selected.mean_effective_sources
        work.rows_out.measures["effective_sources"] = round(mean, 4)
        log.info("%s: %.2f effective sources of %d a prompt", work.step.name, mean, len(config.sources))
