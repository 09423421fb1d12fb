"""A recorded score that a reward must give again."""

from __future__ import annotations

from dataclasses import dataclass

from fusion.errors import ConfigError


@dataclass(kw_only=True)
class KnownAnswer:
    """A score that was recorded elsewhere, e.g. by a reward model's authors.

    Either `prompt` and `response`, or `prompt_id` and `text_hash` of an answer in the sample (as in the REWARD table),
    where a text may not be stored.

    Example: KnownAnswer(reward="armorm", prompt="What is 3 + 4?", response="7", value=0.131, tolerance=0.004)
    """

    reward: str = ""
    """Name of the reward in the config."""
    prompt: str | None = None
    response: str | None = None
    prompt_id: str = ""
    text_hash: str = ""
    value: float = 0.0
    tolerance: float = 0.0
    """How far the value may be off, in its own unit; bf16 has 3 significant digits."""

    def __post_init__(self) -> None:
        has_text = self.prompt is not None and self.response is not None
        has_hash = bool(self.prompt_id and self.text_hash)
        if has_text == has_hash or not self.reward or not self.tolerance > 0:
            raise ConfigError(
                "an entry of trust.known_answers needs reward, tolerance (above 0), and either prompt and response or "
                f"prompt_id and text_hash; got {self}"
            )
