"""Whether the objective is the one that the target's kind of model is trained with."""

from __future__ import annotations

from fusion import registry
from fusion.config import Config

VARIANTS = ("dpo", "ln_dpo")
"""FuseChat-3.0 (arXiv 2503.04222, section 3.4) takes one of these, each with its beta."""


def objective_notes(config: Config) -> list[str]:
    """What to tell of the choice, and what to type; nothing where it fits, or where it is another method's."""
    if config.recipe != "fusechat3" or config.target is None or config.objective is None:
        return []
    chosen, usual = registry.name_of("objective", config.objective), config.target.objective
    if chosen not in VARIANTS or usual in ("", chosen):
        return []
    return [
        f"objective is {chosen}; FuseChat-3.0 trains models like {config.target.name} with {usual}: objective={usual}"
    ]
