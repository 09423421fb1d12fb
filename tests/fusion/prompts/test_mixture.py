"""Mixtures, limits and hub data sets."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.prompts.base import RawPrompt, evenly
from fusion.prompts.hf_dataset import HfDataset
from fusion.prompts.jsonl import Jsonl
from fusion.prompts.mixture import Mixture


def prompt(key: str, domain: str) -> RawPrompt:
    return RawPrompt(key, ({"role": "user", "content": key},), domain, "tests", None)


def jsonl(path: Path, count: int, limit: int = 0) -> Jsonl:
    path.write_text("".join(f'{{"prompt": "{path.stem} {i}", "domain": "{path.stem}"}}\n' for i in range(count)))
    return Jsonl(path=str(path), limit=limit)


def test_limit_is_spread_evenly_over_domains() -> None:
    prompts = [prompt(f"a{i}", "a") for i in range(8)] + [prompt("b0", "b")] + [prompt(f"c{i}", "c") for i in range(3)]
    assert [p.key for p in evenly(prompts, 6)] == ["a0", "a1", "a2", "b0", "c0", "c1"]
    assert len(evenly(prompts, 0)) == len(prompts)


def test_larger_limit_keeps_what_a_smaller_one_kept() -> None:
    prompts = [prompt(f"{domain}{i}", domain) for domain, n in (("a", 9), ("b", 2), ("c", 5)) for i in range(n)]
    kept = [{p.key for p in evenly(prompts, limit)} for limit in range(1, 17)]
    assert all(small < large for small, large in itertools.pairwise(kept))


def test_parts_come_in_turn_and_keep_their_own_limits(tmp_path: Path) -> None:
    mixture = Mixture(
        parts={"x": jsonl(tmp_path / "a.jsonl", 3, limit=2), "y": jsonl(tmp_path / "b.jsonl", 4)},
    )
    prompts = list(mixture.read())
    assert [p.key for p in prompts[:3]] == ["x/a.jsonl:1", "y/b.jsonl:1", "x/a.jsonl:2"]
    kept = [p.key for p in mixture.within_limit(prompts)]
    assert [key for key in kept if key.startswith("x/")] == ["x/a.jsonl:1", "x/a.jsonl:2"]
    assert len(kept) == 6


def test_growing_part_displaces_nothing(tmp_path: Path) -> None:
    def kept(count: int) -> set[str]:
        mixture = Mixture(parts={"x": jsonl(tmp_path / "a.jsonl", count), "y": jsonl(tmp_path / "b.jsonl", 4)})
        return {p.messages[0]["content"] for p in mixture.within_limit(list(mixture.read()))}

    assert kept(3) < kept(6)


def test_empty_mixture_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"prompts\.parts is empty"):
        Mixture().resolve()


@pytest.mark.parametrize("revision", ["", "main", "v1.0"])
def test_data_set_without_pinned_commit_is_refused(revision: str) -> None:
    with pytest.raises(ConfigError, match="pin it to a commit"):
        HfDataset(name="openai/gsm8k", revision=revision).resolve()


def test_data_set_in_a_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    jsonl(tmp_path / "data" / "train.jsonl", 2)
    prompts = list(HfDataset(name=str(tmp_path / "data"), revision="0" * 40).read())
    assert [p.messages[0]["content"] for p in prompts] == ["train 0", "train 1"]
