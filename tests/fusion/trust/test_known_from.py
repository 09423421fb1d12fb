"""Scores that somebody recorded become answers that a reward must score again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.rewards.base import Candidate, Score
from fusion.schema import Outcome
from fusion.trust import KnownAnswer, TrustConfig
from fusion.trust.probes import known_answers_gate
from tests.shared_data import shared_data

SEVERAL = {
    "instruction": "Say hi", "responses": ["Hi", "Hello", "Good day"],
    "rewards_rm": [{"score": 2}, {"score": 5.0}, {"score": 8}], "rewards_other": [1.0, 2.0, 3.0],
}  # fmt: skip
ONE_EACH = [
    {"prompt": "Say hi", "response": text, "source": "a", "rewards": {"rm": value, "other": None}}
    for text, value in (("Hi", 2.0), ("Hello", 5.0), ("Good day", 8.0))
]


class Lengths:
    """Scores the number of characters."""

    def score(self, candidates: Sequence[Candidate]) -> list[Score]:
        return [Score(Outcome.NOT_APPLICABLE, float(len(one.text))) for one in candidates]


def known(path: Path, *rewards: str, tolerance: float = 0.25) -> list[KnownAnswer]:
    config = TrustConfig(known_from=str(path), known_tolerance=tolerance)
    config.resolve(rewards)
    return config.known_answers


def written(path: Path, rows: list[dict[str, object]]) -> Path:
    is_lines = path.suffix == ".jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if is_lines else json.dumps(rows))
    return path


def test_both_layouts_say_the_same(tmp_path: Path) -> None:
    several = known(written(tmp_path / "several.json", [SEVERAL]), "rm", "verifier")
    assert several == known(written(tmp_path / "each.jsonl", ONE_EACH), "rm")
    assert [(one.reward, one.prompt, one.response, one.value) for one in several] == [
        ("rm", "Say hi", "Hi", 2.0), ("rm", "Say hi", "Hello", 5.0), ("rm", "Say hi", "Good day", 8.0)
    ]  # fmt: skip
    assert several[0].tolerance == pytest.approx(0.25 * 6**0.5)


@pytest.mark.parametrize(("moved", "passes"), [(0.0, True), (3.0, False)])
def test_a_reward_that_scores_them_otherwise_fails(tmp_path: Path, moved: float, passes: bool) -> None:
    rows = [row | {"rewards": {"rm": row["rewards"]["rm"] + moved}} for row in ONE_EACH]  # type: ignore[index]
    entries = known(written(tmp_path / "each.jsonl", rows), "rm")
    result = known_answers_gate(Lengths(), [], entries, "rm")
    assert result.passed is passes
    assert "of 3 recorded scores" in result.detail


def test_a_file_without_a_score_of_any_reward_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "several.json", [SEVERAL])
    with pytest.raises(ConfigError, match=r"has scores of other, rm, and none of armorm; name the file's reward"):
        known(path, "armorm")
    with pytest.raises(ConfigError, match=r"several\.json.*rewards_rm must be a list with one score for each"):
        known(written(path, [SEVERAL | {"rewards_rm": [{"score": 1}]}]), "rm")
    with pytest.raises(ConfigError, match="a recorded score must be a finite number, got None"):
        known(written(path, [SEVERAL | {"rewards_rm": [{"value": 1}] * 3}]), "rm")


def test_scores_enter_identity_and_the_path_does_not(tmp_path: Path) -> None:
    from fusion.fingerprint import fingerprint

    prints = []
    for name, row in (("a.json", SEVERAL), ("b.json", SEVERAL), ("c.json", SEVERAL | {"responses": ["a", "b", "c"]})):
        config = TrustConfig(known_from=str(written(tmp_path / name, [row])))
        config.resolve(["rm"])
        prints.append(fingerprint(config))
    assert prints[0] == prints[1] != prints[2]


def test_published_scores_of_armorm_are_read() -> None:
    entries = known(shared_data("preference/magpie_5responses_armorm.json"), "armorm")
    assert len(entries) == 25
    assert all(0.05 < entry.value < 0.25 and 0.001 < entry.tolerance < 0.02 for entry in entries)
