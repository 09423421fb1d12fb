"""Parts, accounts, resuming, taking over: what is committed stays, what is missing is seen."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from fusion.artifact import Part, PartFolder, Receipt, open_artifact
from fusion.errors import ArtifactError
from fusion.schema import REWARD, Reason
from fusion.writer import ArtifactWriter


def rows(*keys: str, text_hash: str = "h") -> list[dict[str, object]]:
    return [
        {
            "prompt_id": key, "source": "s", "sample_index": 0, "outcome": "pass", "value": 1.0,
            "detail": None, "text_hash": text_hash,
        }
        for key in keys
    ]  # fmt: skip


def commit(folder: PartFolder, *keys: str, text_hash: str = "h") -> Receipt:
    return Receipt(parts=folder.write(REWARD.build(rows(*keys, text_hash=text_hash))))


def units(*keys: str) -> dict[str, str | None]:
    return {f"{key}/s/0": "h" for key in keys}


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "rewards" / "x-0")


def test_a_sealed_artifact_reads_sorted_whatever_order_parts_came_in(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    assert writer.pending(units("c", "a", "b")) == ["c/s/0", "a/s/0", "b/s/0"]
    writer.accept(commit(writer.folder, "c", "b"))
    writer.accept(commit(writer.folder, "a"))
    writer.seal({})
    artifact = open_artifact(path, REWARD)
    assert artifact is not None
    assert artifact.read(["outcome"])["prompt_id"].to_pylist() == ["a", "b", "c"]
    assert (artifact.accounts.rows_in, artifact.accounts.rows_out) == (3, 3)


def test_no_manifest_is_no_artifact(path: str) -> None:
    commit(PartFolder(path, REWARD), "a")
    assert open_artifact(path, REWARD) is None


def test_resuming_asks_only_for_what_is_missing(path: str) -> None:
    commit(PartFolder(path, REWARD), "a", "b")
    assert ArtifactWriter(path, REWARD).pending(units("a", "b", "c")) == ["c/s/0"]


def test_a_missing_row_is_not_sealed(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    writer.pending(units("a", "b"))
    writer.accept(commit(writer.folder, "a"))
    with pytest.raises(ArtifactError, match="1 rows are missing, e.g. b/s/0"):
        writer.seal({})
    assert open_artifact(path, REWARD) is None


def test_a_row_nobody_asked_for_is_not_sealed(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    writer.pending(units("a"))
    writer.accept(commit(writer.folder, "a", "z"))
    with pytest.raises(ArtifactError, match="unexpected rows, e.g. z/s/0"):
        writer.seal({})


def test_a_doubled_row_is_refused(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    writer.accept(commit(writer.folder, "a"))
    with pytest.raises(ArtifactError, match="repeats a/s/0"):
        writer.accept(commit(writer.folder, "a", "b"))


def test_a_receipt_is_enough_the_part_is_not_read_back(path: str) -> None:
    """A driver hears of ten parts a second, and each would be a request to the store and 300 KB."""
    writer = ArtifactWriter(path, REWARD)
    writer.pending(units("a", "b"))
    receipt = commit(writer.folder, "a")
    Path(path, receipt.parts[0].name).rename(Path(path, "elsewhere"))
    writer.accept(receipt)
    assert writer.is_done("a/s/0")
    assert not writer.is_done("b/s/0")
    assert writer.pending(units("a", "b")) == ["b/s/0"]


def test_drops_count_by_reason_and_kind(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    writer.pending(units("a", "b", "c"))
    dropped = [(("b", "s", 0), Reason.PROMPT_TOO_LONG, "300 tokens"), (("c", "s", 0), Reason.SCORER_FAILED, "nan")]
    writer.accept(Receipt(commit(writer.folder, "a").parts, writer.folder.write_drops(dropped)))
    accounts = writer.seal({}).accounts
    assert (accounts.rows_in, accounts.rows_out) == (3, 1)
    assert accounts.dropped == {"prompt_too_long": 1}
    assert accounts.failed == {"scorer_failed": 1}


@pytest.mark.parametrize("damage", ["torn", "flipped"])
def test_a_damaged_part_is_done_again(path: str, damage: str) -> None:
    folder = PartFolder(path, REWARD)
    (bad,) = commit(folder, "a").parts
    commit(folder, "b")
    file = Path(path, bad.name)
    content = file.read_bytes()
    file.write_bytes(content[:-9] if damage == "torn" else content[:50] + bytes([content[50] ^ 1]) + content[51:])
    assert ArtifactWriter(path, REWARD).pending(units("a", "b")) == ["a/s/0"]
    assert not file.exists()


def test_damage_of_a_sealed_artifact_is_seen(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    writer.pending(units("a"))
    receipt = commit(writer.folder, "a")
    writer.accept(receipt)
    writer.seal({})
    file = Path(path, receipt.parts[0].name)
    content = bytearray(file.read_bytes())
    content[40] ^= 1
    file.write_bytes(bytes(content))
    artifact = open_artifact(path, REWARD)
    assert artifact is not None
    assert "corrupt" in str(artifact.damage())
    with pytest.raises(ArtifactError, match="corrupt"):
        artifact.read()


def test_parts_of_a_dead_worker_are_adopted(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    wanted = units("a", "b")
    writer.pending(wanted)
    commit(writer.folder, "a")  # its receipt never came
    assert writer.refresh() == 1
    assert [key for key in wanted if not writer.is_done(key)] == ["b/s/0"]


def test_a_part_that_repeats_known_rows_is_not_adopted(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    writer.pending(units("a", "b"))
    writer.accept(commit(writer.folder, "a"))
    commit(writer.folder, "a", "b")
    assert writer.refresh() == 0
    assert not writer.is_done("b/s/0")


def test_rows_of_a_sibling_are_taken_over_where_the_guard_agrees(path: str, tmp_path: Path) -> None:
    sibling = PartFolder(str(tmp_path / "rewards" / "x-1"), REWARD)
    commit(sibling, "a", "b")
    commit(sibling, "c", text_hash="another text")
    writer = ArtifactWriter(path, REWARD, siblings=[sibling.path])
    assert writer.pending(units("a", "b", "c", "d")) == ["c/s/0", "d/s/0"]
    assert writer.rows_reused == 2


def test_parts_stream_to_a_reader_while_they_are_committed(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    seen: list[Part] = []
    first, done = threading.Event(), threading.Event()

    def read() -> None:
        for part in writer.stream():
            seen.append(part)
            first.set()
        done.set()

    threading.Thread(target=read, daemon=True).start()
    writer.pending(units("a", "b"))
    writer.accept(commit(writer.folder, "a"))
    assert first.wait(5)
    assert not done.is_set()
    writer.accept(commit(writer.folder, "b"))
    writer.seal({})
    assert done.wait(5)
    assert sum(part.rows for part in seen) == 2


def test_a_reader_hears_of_a_failed_writer(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    writer.close("engine died")
    with pytest.raises(ArtifactError, match="engine died"):
        list(writer.stream())


def test_a_row_made_from_another_text_is_made_again_not_kept(path: str) -> None:
    """A torn part of responses is generated again, perhaps to other texts, when some were scored already."""
    writer = ArtifactWriter(path, REWARD)
    writer.accept(commit(writer.folder, "a", "b", text_hash="old"))
    assert writer.pending({"a/s/0": "old", "b/s/0": "new"}) == ["b/s/0"]
    writer.accept(commit(writer.folder, "b", text_hash="new"))
    sealed = writer.seal({}).read(["text_hash"])
    assert sealed["text_hash"].to_pylist() == ["old", "new"]


def test_a_row_that_failed_is_tried_again_by_the_next_run_a_decision_stays(path: str) -> None:
    writer = ArtifactWriter(path, REWARD)
    drops = [(("a", "s", 0), Reason.SCORER_FAILED, "broken"), (("b", "s", 0), Reason.EMPTY_RESPONSE, "")]
    writer.accept(Receipt(drops=writer.folder.write_drops(drops)))
    assert writer.pending(units("a", "b", "c")) == ["c/s/0"]
    assert ArtifactWriter(path, REWARD).pending(units("a", "b", "c")) == ["a/s/0", "c/s/0"]
