"""Keys in numpy arrays behave as keys in a Python dictionary do."""

from __future__ import annotations

import random

import numpy as np

from fusion.key_table import KeyTable, digests_of
from fusion.row_ledger import RowLedger, guards_from


def test_it_finds_what_a_dictionary_would() -> None:
    random.seed(0)
    table, known = KeyTable(), dict[str, int]()
    for _ in range(60):
        batch = [f"prompt/{random.randrange(9000)}/é" for _ in range(random.randrange(400))]
        at = table.add(digests_of(batch))
        for key, place in zip(batch, at.tolist(), strict=True):
            assert known.setdefault(key, place) == place, "a key stays where it was put, also when others make room"
    assert sorted(known.values()) == list(range(len(known)))
    assert len(table) == len(known)
    asked = [f"prompt/{number}/é" for number in range(9000)]
    assert table.find(digests_of(asked)).tolist() == [known.get(key, -1) for key in asked]


def test_keys_that_want_the_same_slot_all_find_one() -> None:
    digests = np.stack([np.full(500, 7, dtype=np.uint64), np.arange(500, dtype=np.uint64)], axis=1)
    table = KeyTable()
    assert sorted(table.add(digests).tolist()) == list(range(500))
    assert len(set(table.find(digests).tolist())) == 500
    assert table.find(np.array([[7, 500]], dtype=np.uint64)).tolist() == [-1]


def test_the_table_is_small() -> None:
    table = KeyTable()
    for start in range(0, 200_000, 4000):
        table.add(digests_of(str(number) for number in range(start, start + 4000)))
    assert table.num_bytes / len(table) < 40


def test_an_expected_row_is_named_though_only_its_digest_is_looked_up() -> None:
    rows = RowLedger()
    rows.expect(["b/s/0", "a/s/1", "a/s/0"])
    rows.expect(["a/s/1", "c/s/0"])
    rows.come_out(digests_of(["a/s/0", "b/s/0"]), None)
    rows.drop(digests_of(["c/s/0"]), [("failed", "request_failed")])
    assert (rows.num_expected, rows.num_out, rows.num_missing, rows.a_missing()) == (4, 2, 1, "a/s/1")
    rows.take_back(digests_of(["b/s/0", "unknown"]))
    assert (rows.num_out, rows.num_missing) == (1, 2)
    assert rows.num_dropped()["failed"] == {"request_failed": 1}


def test_a_guard_that_is_not_given_agrees_with_any() -> None:
    rows = RowLedger()
    rows.come_out(digests_of(["a", "b", "c"]), guards_from(["x", "y", None]))
    at = rows.expect(["a", "b", "c"])
    assert rows.is_stale_at(at, guards_from(["x", "other", None])).tolist() == [False, True, False]
    assert rows.is_stale_at(at, guards_from([None, None, "z"])).tolist() == [False, False, True]
