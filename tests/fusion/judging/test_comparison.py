"""What a comparison's detail says of games is what is read from it."""

from __future__ import annotations

import pytest

from fusion.judging.comparison import described, games_in
from fusion.judging.verdict import Reading


@pytest.mark.parametrize(
    ("first", "second", "games", "said"),
    [
        (Reading(1.0, 3.0), Reading(1.0, 3.0), 3.0, "first: strong win, second: strong win; games 3"),
        (Reading(0.0, 3.0), Reading(0.0), 2.0, "first: strong loss, second: loss; games 2"),
        (Reading(0.5), Reading(0.5), 1.0, "first: tie, second: tie"),
        (Reading(0.75, 1.5), Reading(0.5), 1.25, "first: 0.750, second: tie; games 1.25"),
    ],
)
def test_games_travel_in_the_detail(first: Reading, second: Reading, games: float, said: str) -> None:
    assert described(first, second, games, disagree=False) == said
    assert games_in(said) == games


def test_orders_that_disagree_say_so_and_keep_their_games() -> None:
    said = described(Reading(1.0), Reading(0.0, 3.0), 2.0, disagree=True)
    assert said == "first: win, second: strong loss; the orders disagree; games 2"
    assert games_in(said) == 2.0


@pytest.mark.parametrize(
    "text", [None, "", "answered 7, expected 8", "the answer is the baseline", "they played games 3"]
)
def test_other_details_count_once(text: str | None) -> None:
    assert games_in(text) == 1.0
