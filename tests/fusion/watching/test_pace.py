"""How fast, and how long still, against sums done by hand."""

from __future__ import annotations

from fusion.watching.pace import Pace, seconds_left


def paced(*reports: tuple[float, int]) -> Pace:
    pace = Pace()
    for now, done in reports:
        pace.note(now, done)
    return pace


def test_what_was_there_and_what_loading_took_do_not_count() -> None:
    assert paced((0, 100), (60, 116), (70, 148)).rate == 3.2


def test_one_burst_says_nothing_of_the_pace() -> None:
    pace = paced((0, 0), (60, 64))
    assert (pace.moved, pace.rate) == (60, None)


def test_a_report_without_growth_changes_nothing() -> None:
    pace = paced((0, 0), (10, 5), (20, 10), (500, 10))
    assert (pace.moved, pace.rate) == (20, 0.5)


def test_a_count_that_begins_again_does_not_run_backwards() -> None:
    assert paced((0, 0), (10, 5), (20, 15), (21, 0), (30, 25)).rate == 1.0


def test_time_that_passed_since_the_count_is_taken_off() -> None:
    assert seconds_left(2.0, 100, 200, since_moved=10) == 40
    assert seconds_left(2.0, 100, 200, since_moved=1000) == 0
    assert seconds_left(None, 100, 200, 0) is None
    assert seconds_left(2.0, 100, 0, 0) is None
