"""A file of answers, with other rewards or another rule than the experiment's: it works, or says what to type."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fusion.cli import main
from fusion.config import composed, typed
from fusion.rewards.literal_answer import LiteralAnswer
from fusion.rewards.math_answer import MathAnswer

Plan = Callable[..., tuple[int, str]]
SUM = {"prompt": "1 + 1?", "source": "a", "response": "It is 2.", "reference": "2", "domain": "math"}
PROGRAM = {"prompt": "Halve.", "source": "a", "response": "...", "reference": "assert half(2) == 1", "domain": "code"}


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Plan:
    """Exit code of `fusion plan experiment=replay` of some rows with overrides, and what it says."""
    monkeypatch.chdir(tmp_path)

    def planned(rows: list[dict[str, object]], *overrides: str) -> tuple[int, str]:
        Path("answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        with pytest.raises(SystemExit) as ended:
            main(["plan", "experiment=replay", "replay.path=answers.jsonl", *overrides])
        return int(ended.value.code or 0), "".join(capfd.readouterr())

    return planned


def test_the_rules_of_the_paper_are_refused_with_what_the_file_lacks(plan: Plan) -> None:
    code, said = plan([SUM, PROGRAM], "selection=fusechat3")
    assert code == 2
    assert "selection.rules.math reads armorm, fits_target, which this recipe does not compute" in said
    assert "selection.rank_by=recorded" in said


def test_the_rules_of_the_paper_work_with_what_the_file_has(plan: Plan) -> None:
    code, said = plan([SUM, PROGRAM], "selection=fusechat3", "selection.rank_by=recorded", "selection.clean_by=[]")
    assert code == 0, said


def test_a_domain_without_a_rule_is_refused_before_anything_starts(plan: Plan) -> None:
    named = [SUM | {"domain": "gsm8k"}]
    code, said = plan(named, "selection=fusechat3", "selection.rank_by=recorded", "selection.clean_by=[]")
    assert code == 2
    assert "there are prompts of domain 'gsm8k', for which selection.rules has no rule" in said


def test_verifiers_that_no_answer_needs_may_be_left_out(plan: Plan) -> None:
    code, said = plan([SUM], "reward=[math_answer,clean_text]")
    assert code == 0, said


def test_a_domain_without_any_of_its_verifiers_is_refused(plan: Plan) -> None:
    code, said = plan([SUM, PROGRAM], "reward=[math_answer,clean_text]")
    assert code == 2
    assert "selection.rules.code reads code_tests, literal_answer, which this recipe does not compute" in said


def test_a_reference_to_what_is_not_in_the_config_is_refused(plan: Plan) -> None:
    code, said = plan([SUM], "rewards.math_answer.programs=${selection.nowhere}")
    assert code == 2
    assert "selection.nowhere" in said
    assert "rewards.math_answer.programs" in said


def test_each_reference_has_one_verifier(tmp_path: Path) -> None:
    (tmp_path / "answers.jsonl").write_text(json.dumps(SUM) + "\n")
    config = typed(composed(["experiment=replay", f"replay.path={tmp_path}/answers.jsonl"]))
    numbers, literals = config.rewards["math_answer"], config.rewards["literal_answer"]
    assert isinstance(numbers, MathAnswer)
    assert isinstance(literals, LiteralAnswer)
    assert numbers.leaves_others
    assert numbers.programs == literals.programs
    assert "crux" in literals.programs
