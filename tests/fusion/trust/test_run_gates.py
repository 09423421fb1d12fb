"""All gates together: what stops a run, and what lets it go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from fusion.errors import ConfigError, StepFailed
from fusion.rewards.base import Candidate, Score
from fusion.schema import Outcome
from fusion.trust import GATES, KnownAnswer, TrustConfig, demand, run_gates
from tests.fusion.rewards.candidates import candidate

SAMPLE = [
    replace(candidate("word " * (1 + (7 * prompt + 3 * index) % 11), prompt=f"{prompt}"), prompt_id=f"p{prompt}",
            source=source, sample_index=index)
    for prompt in range(24) for source in ("one", "two") for index in range(3)
]  # fmt: skip
VERDICTS = {(one.prompt_id, one.source, one.sample_index): one.sample_index != 1 for one in SAMPLE}


class ByLength:
    """Rewards nothing but length."""

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [Score(Outcome.NOT_APPLICABLE, float(len(one.text))) for one in candidates]


def test_results_come_in_order_and_the_failing_one_stops() -> None:
    config = TrustConfig()
    results = run_gates("rm", ByLength(), SAMPLE, config)
    assert tuple(result.gate for result in results) == GATES
    failed = [result.gate for result in results if result.passed is False]
    assert failed == ["length"]
    with pytest.raises(StepFailed) as stopped:
        demand("rm", results, config.override)
    assert str(stopped.value).startswith("reward rm is not to be trusted: length: FAILED 1 (limit 0.4); longer answers")
    assert str(stopped.value).endswith("trust.override=[length]")


def test_overridden_gate_lets_the_run_go_on() -> None:
    results = run_gates("rm", ByLength(), SAMPLE, TrustConfig())
    demand("rm", results, ["length"])
    with pytest.raises(StepFailed, match=r"trust\.override=\[agreement,length\]"):
        demand("rm", results, ["agreement"])


def test_verdicts_are_weighed() -> None:
    results = {result.gate: result for result in run_gates("rm", ByLength(), SAMPLE, TrustConfig(), VERDICTS)}
    assert results["agreement"].passed is not None
    assert run_gates("rm", ByLength(), SAMPLE, TrustConfig())[-1].passed is None


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="trust.override names 'lenght'; the gates are batching, padding, known"):
        TrustConfig(override=["lenght"])
    with pytest.raises(ConfigError, match=r"trust\.min_agreement must be in \[0, 1\], got 60"):
        TrustConfig(min_agreement=60)
    with pytest.raises(ConfigError, match="either prompt and response or prompt_id and text_hash"):
        KnownAnswer(reward="rm", prompt="Hi", value=1.0, tolerance=0.1)


def test_config_composes_with_known_answers() -> None:
    from omegaconf import OmegaConf

    entry = {"reward": "rm", "prompt": "Hi", "response": "Hello", "value": 0.1, "tolerance": 0.01}
    tree = OmegaConf.merge(OmegaConf.structured(TrustConfig), {"known_answers": [entry], "families": {"a": "b"}})
    config = OmegaConf.to_object(tree)
    assert isinstance(config, TrustConfig)
    assert config.known_answers == [KnownAnswer(**entry)]  # type: ignore[arg-type]
