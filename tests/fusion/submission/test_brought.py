"""Files in a log: they come back whole or not at all, however the log is cut, and people do not see them."""

from __future__ import annotations

import os

import pytest

from fusion.errors import ArtifactError
from fusion.submission.brought import Receiver, encoded

DATA = os.urandom(20_000)
LOG = "\n".join(["done a", *encoded("run/result.json", DATA), "half", *encoded("run/empty", b""), "the end"])


@pytest.mark.parametrize("cut", [1, 7, 4096, 10**6])
def test_a_log_in_pieces_gives_the_file_and_the_words(cut: int) -> None:
    receiver = Receiver()
    shown = "".join(receiver.feed(LOG[start : start + cut]) for start in range(0, len(LOG), cut)) + receiver.end()
    assert shown == "done a\nhalf\nthe end\n"
    assert receiver.files()["run/result.json"] == DATA


def test_a_file_that_is_not_whole_is_not_there() -> None:
    receiver = Receiver()
    for line in encoded("result.json", DATA)[:-1]:
        receiver.feed(line + "\n")
    assert receiver.files() == {}


def test_a_damaged_file_is_refused() -> None:
    receiver = Receiver()
    lines = encoded("result.json", DATA)
    lines[1] = lines[1][:-3] + ("AAA" if lines[1][-3:] != "AAA" else "BBB")
    for line in lines:
        receiver.feed(line + "\n")
    with pytest.raises(ArtifactError, match="result.json came back damaged"):
        receiver.files()


@pytest.mark.parametrize(
    "place", ["n/m", "1", "1/", "/2", "-1/2", "0/1", "1/0", "3/2", "²/3", "1/2/3", "1/" + "9" * 5000]
)
def test_a_line_that_only_looks_like_a_file_is_shown(place: str) -> None:
    line = f"fusion-file name {place} {'0' * 64} AAAA\n"
    receiver = Receiver()
    assert receiver.feed(line) == line
    assert receiver.files() == {}


def test_lines_are_short_enough_for_log_collectors() -> None:
    assert max(len(line) for line in encoded("result.json", DATA)) < 8192
