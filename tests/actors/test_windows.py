"""Sums over time against sums done by hand."""

from __future__ import annotations

import pytest

from actors.windows import BusyTime, IdleTime, Window


def test_a_rate_is_of_the_last_minute() -> None:
    window = Window(0.0)
    window.add(10.0, 300)
    assert window.rate(20.0) == 15.0  # a young window is as long as it is old
    window.add(65.0, 600)
    assert window.rate(69.0) == 15.0
    assert window.rate(70.0) == 10.0  # the first is a minute old
    assert window.rate(130.0) == 0.0


def test_idle_time_is_weighted_by_how_long_it_lasted() -> None:
    idle = IdleTime()
    assert idle.share == 0.0
    idle.sample(0.0, 0, 2)
    idle.sample(9.0, 1, 2)
    idle.sample(10.0, 2, 2)
    assert idle.share == pytest.approx(1 / 20)
    idle.sample(20.0, 0, 2)
    assert idle.share == pytest.approx(21 / 40)


def test_those_that_are_still_loading_are_not_idle() -> None:
    idle = IdleTime()
    idle.sample(0.0, 0, 0)
    idle.sample(50.0, 0, 1)
    idle.sample(60.0, 0, 1)
    assert idle.share == 0.0


def test_a_stream_is_idle_when_its_sessions_do_not_work() -> None:
    busy = BusyTime(num_sessions=2)
    assert busy.idle_share(100.0) == 0.0
    busy.add(10.0, 4.0)  # it began at 6 at the latest
    busy.add(12.0, 6.0)
    assert busy.idle_share(16.0) == 0.5  # 10 of 2 x 10 seconds
    busy.add(16.0, 500.0)
    assert busy.idle_share(16.0) == 0.0
