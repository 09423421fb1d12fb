"""Mixtures and limits."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.fingerprint import fingerprint
from fusion.prompts.base import RawPrompt, evenly
from fusion.prompts.filters import Filters, Refusal
from fusion.prompts.jsonl import Jsonl
from fusion.prompts.mixture import Mixture
from fusion.prompts.taggers.constant import Constant


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


def test_each_part_has_its_own_tagger_and_filters_and_the_mixture_comes_after(tmp_path: Path) -> None:
    one, two = jsonl(tmp_path / "a.jsonl", 12), jsonl(tmp_path / "b.jsonl", 12)
    one.filters = Filters(max_characters=3)
    two.tagger = Constant(domain="sums")
    mixture = Mixture(parts={"x": one, "y": two}, filters=Filters(exclude_domains=["sums"]))
    verdicts = {prompt.key: mixture.admit(prompt) for prompt in mixture.read()}
    assert {key for key, verdict in verdicts.items() if isinstance(verdict, RawPrompt)} == {
        f"x/a.jsonl:{line}" for line in range(1, 11)
    }
    reasons = {key: verdict.reason for key, verdict in verdicts.items() if isinstance(verdict, Refusal)}
    assert reasons["x/a.jsonl:12"] == "prompt_too_long"
    assert reasons["y/b.jsonl:1"] == "excluded_domain"


def test_parts_are_ordered_as_listed_unless_the_order_is_given(tmp_path: Path) -> None:
    parts = {name: jsonl(tmp_path / f"{name}.jsonl", 1) for name in ("b", "a")}
    listed, turned = Mixture(parts=dict(parts)), Mixture(parts=dict(reversed(parts.items())))
    listed.resolve()
    turned.resolve()
    assert (listed.order, turned.order) == (["b", "a"], ["a", "b"])
    assert fingerprint(listed) != fingerprint(turned), "which part wins is part of what is made"
    assert [p.key for p in Mixture(parts=parts, order=["a", "b"]).read()] == ["a/a.jsonl:1", "b/b.jsonl:1"]
    with pytest.raises(ConfigError, match=r"prompts\.order is \['a'\]; name each of \['b', 'a'\] once"):
        Mixture(parts=parts, order=["a"])


def test_a_part_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"prompts\.parts\.chat: .*is not there"):
        Mixture(parts={"chat": Jsonl(path=str(tmp_path / "none.jsonl"))}).resolve()
