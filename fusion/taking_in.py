"""A config around a file of answers: its rule and its verifiers are those that the answers in the file need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fusion.prompts.stored import Stored
from fusion.stored import StoredResponses

if TYPE_CHECKING:
    from fusion.config import Config


def fit(config: Config, stored: StoredResponses) -> None:
    """Ranks by what came with the answers, where the rule says so. Where the prompts come from the file too, they are
    all that there is to judge: domains that it lacks need no rule, and each reference has one verifier.
    """
    domains = stored.summary().rewards_of
    if config.selection is not None:
        config.selection.settle(domains)
    if not isinstance(config.prompts, Stored) or config.prompts.stored not in (None, stored):
        return
    config.prompts.stored = stored
    if config.selection is not None:
        programs = config.selection.verdicts().known_by.get("code", [])
        for reward in config.rewards.values():
            reward.leave_others(programs)
        config.selection = config.selection.narrowed(domains, config.rewards)
