"""A language model as judge, behind any OpenAI-compatible endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from omegaconf import MISSING

from fusion.endpoint import Endpoint
from fusion.endpoint_config import EndpointConfig
from fusion.errors import ConfigError
from fusion.judging.endpoint_replies import EndpointReplies, LimitName
from fusion.judging.judging import Judging
from fusion.judging.scorer import JudgeScorer
from fusion.spending import Budget
from fusion.step import Placement


@dataclass(kw_only=True)
class Judge(Judging):
    """A judge that costs money. When no reply of `attempts` can be read, the request fails, or the budget is spent
    ("budget spent: ..."), the row is an error. With a larger budget it is another reward, which finds in the cache what
    was judged before and asks for the rest.
    """

    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    revision: str = MISSING
    """What is known of the weights behind the name: a commit, a date, an image. Change it when they change."""
    limit_name: LimitName = field(default=LimitName.MAX_TOKENS, metadata={"identity": False})
    budget: Budget = field(default_factory=Budget)

    def resolve(self) -> None:
        if not self.revision:
            raise ConfigError(
                f"the judge {self.endpoint.model} is not pinned; set rewards.judge.revision to what is known of its "
                "weights (a commit, a date)"
            )
        super().resolve()

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[JudgeScorer]:
        """Raises:
        ConfigError: the API key is not where the config says; the baseline cannot be read.
        """
        with Endpoint(self.endpoint, self.budget) as endpoint:
            replies = EndpointReplies(
                endpoint=endpoint,
                identity=(self.endpoint.model, self.endpoint.answers_as, self.revision),
                temperature=self.temperature,
                max_new_tokens=self.max_new_tokens,
                limit_name=self.limit_name,
                logprobs=self.weighted,
            )
            with self.scoring(replies, self.endpoint.concurrency) as scorer:
                yield scorer
