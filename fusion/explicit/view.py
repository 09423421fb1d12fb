"""An alignment that a person can read: in the terminal, and as one HTML file.

Groups of tokens stand in the order of the text, source above pivot. What matches one to one is quiet; what does not is
coloured, so that the eye finds it: one against several, several against one, several against several, and what stands
alone. White space and bytes that are part of a character are spelled out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from fusion.explicit.alignment import Alignment, AlignmentMode, align
from fusion.explicit.tokenizers import TextTokenizer

if TYPE_CHECKING:
    from rich.console import Console

SIGNS = {" ": "·", "\n": "⏎", "\t": "⇥", "\r": "␍"}


class Shape(StrEnum):
    """How many tokens meet how many."""

    EQUAL = "1-1"
    SPLIT = "1-n"
    """One source token, several pivot tokens."""
    JOINED = "n-1"
    MIXED = "n-m"
    ALONE = "alone"


COLOURS = {
    Shape.EQUAL: "default", Shape.SPLIT: "cyan", Shape.JOINED: "yellow", Shape.MIXED: "magenta", Shape.ALONE: "red",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """Tokens that hang together, as they are shown."""

    source: tuple[str, ...]
    pivot: tuple[str, ...]

    @property
    def shape(self) -> Shape:
        counts = (len(self.source), len(self.pivot))
        if 0 in counts:
            return Shape.ALONE
        if counts == (1, 1):
            return Shape.EQUAL
        return Shape.SPLIT if counts[0] == 1 else Shape.JOINED if counts[1] == 1 else Shape.MIXED


@dataclass(frozen=True)
class View:
    """One text under two tokenizers."""

    source: str
    pivot: str
    groups: tuple[Group, ...]
    num_bytes: int

    def count(self, shape: Shape) -> int:
        return sum(group.shape is shape for group in self.groups)

    @property
    def summary(self) -> str:
        """Tokens of each side, groups of each shape."""
        sides = [sum(len(getattr(group, side)) for group in self.groups) for side in ("source", "pivot")]
        shapes = ", ".join(f"{self.count(shape)} {shape.value}" for shape in Shape)
        return (
            f"{self.source}: {sides[0]} tokens, {self.pivot}: {sides[1]} tokens, {self.num_bytes} bytes of text; "
            f"groups: {shapes}"
        )


def view(text: str, source: TextTokenizer, pivot: TextTokenizer, mode: AlignmentMode) -> View:
    """Align `text` and put its tokens into words.

    Raises:
        SpanError: a tokenizer cannot spell the text.
    """
    one, other = source.encode(text), pivot.encode(text)
    found: Alignment = align(one, other, (source.vocabulary, pivot.vocabulary), mode)
    words = [[shown(t.vocabulary.pieces[i]) for i in s.ids.tolist()] for t, s in ((source, one), (pivot, other))]
    groups = tuple(
        Group(tuple(words[0][i] for i in mine), tuple(words[1][j] for j in theirs)) for mine, theirs in found.groups()
    )
    return View(source.name, pivot.name, groups, len(text.encode()))


def shown(piece: bytes) -> str:
    """A piece in print: `·the`, `⏎`; bytes that are no whole characters as `<E4><BD>`."""
    parts = []
    for char in piece.decode("utf-8", "surrogateescape"):
        if 0xDC80 <= ord(char) <= 0xDCFF:
            parts.append(f"<{ord(char) - 0xDC00:02X}>")
        else:
            parts.append(SIGNS.get(char, char if char.isprintable() else f"<U+{ord(char):04X}>"))
    return "".join(parts)


def print_view(console: Console, seen: View) -> None:
    """Lines of groups, as wide as the terminal: source above, pivot below, a bar between groups."""
    from rich.cells import cell_len
    from rich.text import Text

    label = max(len(seen.source), len(seen.pivot))
    room = max(20, console.width - label - 2)
    row: list[Group] = []
    used = 0
    for group in [*seen.groups, None]:
        width = 0 if group is None else max(cell_len("|".join(group.source)), cell_len("|".join(group.pivot))) + 1
        if row and (group is None or used + width > room):
            for name, side in ((seen.source, "source"), (seen.pivot, "pivot")):
                line = Text(name.rjust(label) + " ", style="dim")
                for one in row:
                    words = "|".join(getattr(one, side))
                    both = max(cell_len("|".join(one.source)), cell_len("|".join(one.pivot)))
                    line.append(words + " " * (both - cell_len(words)), style=_style(one))
                    line.append("│", style="dim")
                console.print(line, soft_wrap=True)
            console.print()
            row, used = [], 0
        if group is not None:
            row.append(group)
            used += width
    console.print(Text(seen.summary), soft_wrap=True)
    legend = Text()
    for shape in Shape:
        legend.append(f" {shape.value} ", style=COLOURS[shape])
    console.print(legend)


def _style(group: Group) -> str:
    return COLOURS[group.shape]


def html(views: Sequence[View]) -> str:
    """One self-contained page of all the texts."""
    from jinja2 import Environment, PackageLoader, select_autoescape

    environment = Environment(loader=PackageLoader("fusion.explicit", "."), autoescape=select_autoescape(["jinja"]))
    return environment.get_template("alignment.html.jinja").render(views=views, shapes=list(Shape))
