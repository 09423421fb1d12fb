"""Stored scores against labels of people and of objective pairs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.judging.stored_agreement import Rater, agreements
from tests.shared_data import shared_data

SCORES = Rater("judge", "{{ a }}", "{{ b }}")


def write(path: Path, *rows: tuple[float, float, float]) -> str:
    path.write_text("".join(json.dumps(dict(zip("lab", row, strict=True))) + "\n" for row in rows))
    return str(path)


def test_ties_of_the_rater_count_half_and_ties_of_people_do_not_count(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", (1, 5, 3), (0, 5, 3), (1, 4, 4), (0.5, 9, 1))
    (found,) = agreements(path, "{{ l }}", [SCORES])
    assert (found.accuracy.value, found.num_pairs, found.num_ties) == (0.5, 3, 1)


def test_without_a_decided_pair_nothing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no pair that the labels decide"):
        agreements(write(tmp_path / "p.jsonl", (0.5, 1, 2)), "{{ l }}", [SCORES])


def test_reward_models_on_judgebench() -> None:
    """The same share as a count over the file's rows without templates gives; a tie is half right."""
    path = shared_data("preference/judgebench_rm_scores.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    names = sorted(rows[0]["rm_scores"])
    raters = [Rater(name, f"{{{{ rm_scores[{name!r}][0] }}}}", f"{{{{ rm_scores[{name!r}][1] }}}}") for name in names]
    found = {one.name: one for one in agreements(str(path), "{{ 1 if label == 'A>B' else 0 }}", raters)}
    for name in names:
        signs = [a - b if row["label"] == "A>B" else b - a for row in rows for a, b in [row["rm_scores"][name]]]
        right, ties = sum(one > 0 for one in signs), signs.count(0)
        assert (found[name].num_pairs, found[name].num_ties) == (350, ties)
        assert found[name].accuracy.value == pytest.approx((right + ties / 2) / 350)


def test_one_annotator_of_pandalm_against_the_other_two() -> None:
    """What a judge can reach at best: a person agrees with two others where these agree. Asked here is only that it is
    surely more often than by chance; `test_agree` counts the share a second time."""
    path = shared_data("preference/pandalm_human_testset.json")
    label = "{{ {0: 0.5, 1: 1, 2: 0}[annotator1 | int] }}"
    rater = Rater("third", "{{ 1 if annotator3 | int == 1 else 0 }}", "{{ 1 if annotator3 | int == 2 else 0 }}")
    (found,) = agreements(str(path), label, [rater], where="annotator1 == annotator2 and annotator1 | int > 0")
    assert found.num_pairs > 300
    assert found.accuracy.low > 0.5
