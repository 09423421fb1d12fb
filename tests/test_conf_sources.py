"""Every number in the yamls of models and of FuseChat-3.0 says where it comes from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

CONF = Path(__file__).resolve().parents[1] / "conf"
FILES = sorted(
    path
    for pattern in ("source/*", "target/*", "train/*", "selection/*", "prompts/fusechat3/*", "experiment/fusechat3*")
    for path in CONF.glob(f"{pattern}.yaml")
)
CITES = re.compile(r"arXiv \d|data set card")
"""What a file's head must name to speak for all of its numbers."""


def numbers(node: yaml.Node, lines: tuple[int, ...] = ()) -> Iterator[tuple[str, tuple[int, ...]]]:
    """(number, the lines of its own and of the keys it lies under) for each that a file holds."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from numbers(value, (*lines, key.start_mark.line))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from numbers(value, (*lines, value.start_mark.line))
    elif node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"):
        yield node.value, lines


def unsourced(text: str) -> list[str]:
    """Numbers without a comment: on their line, above it, at a key they lie under, or in a head that cites."""
    lines = text.splitlines()
    head = "\n".join(lines[: next(i for i, line in enumerate(lines) if not line.startswith("#"))])
    if CITES.search(head):
        return []
    tree = yaml.compose(text)
    assert tree is not None
    commented = {i for i, line in enumerate(lines) if re.search(r"(?:^|\s)#", line)}
    commented |= {i + 1 for i, line in enumerate(lines) if line.startswith(" ") and line.lstrip().startswith("#")}
    return [f"line {at[-1] + 1}: {number}" for number, at in numbers(tree) if commented.isdisjoint(at)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONF)))
def test_every_number_says_where_it_comes_from(path: Path) -> None:
    assert unsourced(path.read_text("utf-8")) == []


def test_a_shape_is_read_off_the_models_own_files() -> None:
    for path in [*CONF.glob("source/*.yaml"), *CONF.glob("target/*.yaml")]:
        before, found, _ = path.read_text("utf-8").partition("\n  shape:")
        if found:
            above = [line for line in before.splitlines()[-2:] if line.startswith("  # ")]
            assert any(said in line for line in above for said in ("config.json", "GGUF")), path


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("# A model.\nsampling:\n  top_k: 40\n", ["line 3: 40"]),
        ("# A model.\nsampling:\n  top_k: 40  # its card\n  top_p: 1.0\n", ["line 4: 1.0"]),
        ("# A model.\nsampling:\n  # its card\n  top_k: 40\n  top_p: 1.0\n", ["line 5: 1.0"]),
        ("# A model.\n\nshape:  # its card\n  {layers: 2,\n   hidden: 3}\n", []),
        ("# Section 4.1 of arXiv 2503.04222.\nsft: {epochs: 3}\n", []),
    ],
)
def test_a_number_without_a_comment_is_found(text: str, missing: list[str]) -> None:
    assert unsourced(text) == missing
