"""A language model as judge that runs here: no endpoint, no money, and the same verdicts in every run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from fusion.errors import ConfigError
from fusion.fingerprint import fingerprint
from fusion.generators.base import Generator
from fusion.generators.openai_endpoint import OpenaiEndpoint
from fusion.judging.judging import Judging
from fusion.judging.scorer import JudgeScorer
from fusion.models import ModelRef, check_template, resolve
from fusion.step import Placement


@dataclass(kw_only=True)
class LocalJudge(Judging):
    """A judge of our own, on the machines that score.

    Example: `reward@benchmarks.mt_bench.reward=local_judge benchmarks.mt_bench.reward.model.uri=FOLDER`
    """

    uses_model: ClassVar[bool] = True

    model: ModelRef = field(default_factory=ModelRef)
    generator: Generator = "${generator}"  # type: ignore[assignment]  # Hydra fills it in
    """Its engine; as it stands, the run's."""
    concurrency: int = field(default=64, metadata={"identity": False})
    """Requests in the engine at a time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.temperature is None or self.concurrency < 1:
            raise ConfigError("rewards.local_judge needs a temperature (0 is greedy), and concurrency of at least 1")

    def resolve(self) -> None:
        if isinstance(self.generator, OpenaiEndpoint):
            raise ConfigError("a judge behind an endpoint is reward judge; local_judge needs generator=vllm or another")
        resolve(self.model)
        check_template(self.model)
        super().resolve()

    @contextmanager
    def open(self, cache: str, placement: Placement) -> Iterator[JudgeScorer]:
        """Raises:
        EngineError: the model cannot be loaded here.
        ConfigError: it has no chat template; the baseline cannot be read.
        """
        # Loading these takes seconds and is of use to a worker only.
        from fusion.chat import Renderer
        from fusion.engine_loop import EngineLoop
        from fusion.judging.engine_replies import EngineReplies
        from fusion.modelfiles import prepare

        assert self.temperature is not None
        folder = prepare(self.model, Path(cache))
        with EngineLoop(self.generator, folder, placement) as engine:
            replies = EngineReplies(
                engine=engine,
                renderer=Renderer.load(folder, self.model.chat, self.model.trust_remote_code),
                identity=("local", fingerprint({"model": self.model, "generator": self.generator})),
                temperature=self.temperature,
                max_new_tokens=self.max_new_tokens,
                logprobs=self.weighted,
            )
            with self.scoring(replies, self.concurrency) as scorer:
                yield scorer
