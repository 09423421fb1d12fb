"""What happens to the store: its disk is full, files of it are damaged, two runs use it at once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.chaos.calm import Calm
from tests.end_to_end.chaos.ride import Ride
from tests.end_to_end.chaos.stages import STAGES, enter
from tests.end_to_end.chaos.verdict import asked, committed, differences, picture, touched
from tests.small_disk import small_disk

pytestmark = pytest.mark.chaos
BLOCK = 4096
Told = Callable[[str, object], None]


@pytest.mark.parametrize("stage", ["generate", "score", "sft"])
def test_a_full_disk_stops_the_run_with_what_to_type_and_room_resumes_it(
    stage: str, calm: Calm, record_property: Told
) -> None:
    name = f"full_disk-{stage}"
    store = calm.workspace / f"{name}_store"
    started = time.monotonic()
    with small_disk(store, 2**30) as disk:
        enter(STAGES[stage], calm.store, store)
        there = _blocks(store)
        disk.grow(there + (_blocks(calm.store) - there) // 2)
        with Ride(calm.workspace, name, store) as ride:
            assert ride.ended() == 1, ride.tail()
            said = ride.output.read_text()
        assert "no space is left" in said, said
        assert "store.path" in said, said
        before = committed(store)
        disk.grow(2**30)
        with Ride(calm.workspace, name, store) as ride:
            assert ride.ended() == 0, ride.tail()
        record_property(name, f"{time.monotonic() - started:5.1f} s in all")
        wrong = touched(before, store) + differences(picture(calm.workspace, name), calm.picture)
    assert not wrong, wrong


DAMAGE: dict[str, Callable[[Path], object]] = {
    "flipped": lambda file: file.write_bytes(_flipped(file.read_bytes())),
    "torn": lambda file: file.write_bytes(file.read_bytes()[:-7]),
    "lost": Path.unlink,
}


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("prompts/train-*/parts/*.parquet", "flipped"),
        ("responses/pico_a-*/parts/*.parquet", "flipped"),
        ("responses/pico_b-*/manifest.json", "torn"),
        ("rewards/pico_a-likelihood-*/parts/*.parquet", "torn"),
        ("rewards/pico_b-math_answer-*/parts/*.parquet", "lost"),
        ("sft/*/parts/*.parquet", "flipped"),
        ("logprobs/*/parts/*.parquet", "torn"),
        ("checkpoint/sft-*/files/model.safetensors", "flipped"),
        ("checkpoint/final-*/manifest.json", "lost"),
    ],
)
def test_what_is_damaged_is_made_again_and_nothing_else(
    pattern: str, damage: str, calm: Calm, record_property: Told
) -> None:
    name = f"{damage}-{pattern.split('/')[0]}-{pattern.split('/')[1].rstrip('-*')}"
    store = calm.workspace / f"{name}_store"
    shutil.copytree(calm.store, store)
    victim = sorted(store.glob(pattern))[0]
    DAMAGE[damage](victim)
    before = {part: data for part, data in committed(store).items() if store / part != victim}
    started = time.monotonic()
    with Ride(calm.workspace, name, store) as ride:
        assert ride.ended() == 0, ride.tail()
    record_property(name, f"{time.monotonic() - started:5.1f} s")
    wrong = touched(before, store) + differences(picture(calm.workspace, name), calm.picture)
    assert not wrong, wrong


@pytest.mark.parametrize("stage", ["generate", "sft"])
def test_two_runs_at_once_share_the_work(stage: str, calm: Calm, record_property: Told) -> None:
    store = enter(STAGES[stage], calm.store, calm.workspace / f"twins-{stage}_store")
    started = time.monotonic()
    names = [f"twins-{stage}-{which}" for which in ("one", "other")]
    with Ride(calm.workspace, names[0], store) as one, Ride(calm.workspace, names[1], store) as other:
        assert one.ended() == 0, one.tail()
        assert other.ended() == 0, other.tail()
    record_property(f"twins-{stage}", f"{time.monotonic() - started:5.1f} s")
    for name in names:
        wrong = differences(picture(calm.workspace, name), calm.picture)
        assert not wrong, wrong
    if stage == "generate":
        wanted = {row["source"]: 0 for row in calm.picture["responses"]}
        for row in calm.picture["responses"]:
            wanted[row["source"]] += 1
        for source, number in wanted.items():
            made = [asked(calm.workspace, name).get(source, 0) for name in names]
            assert max(made) <= number, f"{source} was asked {made} times for {number} answers"


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _blocks(folder: Path) -> int:
    """Bytes that the files take on a disk."""
    return sum(-(-path.stat().st_size // BLOCK) * BLOCK for path in folder.rglob("*") if path.is_file())
