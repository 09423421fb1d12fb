"""Grids of text: the same table for a terminal, for Markdown and for LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusion.evaluation.benchmark import Benchmark
from fusion.evaluation.compare import OVERALL
from fusion.evaluation.intervals import Interval
from fusion.evaluation.leaderboard import AVERAGES, DASH, Leaderboard

SCORES_TITLE = "Scores with 95% intervals"


@dataclass(frozen=True, slots=True)
class Grid:
    """A header and rows of as many cells; the first column names the row."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def transposed(self) -> Grid:
        """Rows as columns."""
        turned = list(zip(self.header, *self.rows, strict=True))
        return Grid(self.title, turned[0], turned[1:])

    def markdown(self) -> str:
        """The grid as a Markdown table, without its title."""
        lines = ["| " + " | ".join(_escaped(cell, "|") for cell in self.header) + " |"]
        lines += ["|---" + "|---:" * (len(self.header) - 1) + "|"]
        lines += ["| " + " | ".join(_escaped(cell, "|") for cell in row) + " |" for row in self.rows]
        return "\n".join(lines)


def grids(board: Leaderboard) -> list[Grid]:
    """Scores, what they rest on, and differences; the last only where models share benchmarks."""
    return [grid for grid in (scores(board), basis(board), differences(board)) if grid.rows]


def scores(board: Leaderboard) -> Grid:
    """Benchmarks by models, or the other way round where there are more models; published numbers in a row below."""
    rows = []
    for name, benchmark in board.benchmarks.items():
        cells = [board.cells.get((name, model)) for model in board.models]
        rows.append([benchmark.title, *(spread(cell.interval) if cell else DASH for cell in cells)])
        if any(cell and cell.published is not None for cell in cells):
            known = [cell.published if cell else None for cell in cells]
            label = f"published ({benchmark.published_in})"
            rows.append([label, *(DASH if one is None else f"{one:.1f}" for one in known)])
    for key, label in AVERAGES.items() if board.averages else ():
        means = [getattr(board.averages[model], key) for model in board.models]
        rows.append([label, *(DASH if mean is None else spread(mean) for mean in means)])
    grid = Grid(SCORES_TITLE, ["", *board.models], rows)
    return grid.transposed() if len(board.models) > len(rows) else grid


def basis(board: Leaderboard) -> Grid:
    """What each score rests on, and what could be noticed at all."""
    header = ["benchmark", "model", "items", "samples", "unparsed", "undecided", "cut off", "characters", "detectable"]
    rows = []
    for row in board.rows:
        benchmark = board.benchmarks[str(row["benchmark"])]
        counts = [f"{row[key]:,}" for key in ("num_samples", "unparsed", "undecided", "truncated")]
        detectable = benchmark.printed * float(str(row["detectable"]))
        items = f"{row['n']:,} of {benchmark.data.num_items or row['num_items']:,}"
        rest = [f"{row['mean_chars']:,.0f}", f"{detectable:.1f}"]
        rows.append([benchmark.title, str(row["model"]), items, *counts, *rest])
    return Grid("What the scores rest on", header, rows)


def differences(board: Leaderboard) -> Grid:
    """Paired differences in points on scales made equal."""
    header = ["pair", "benchmark", "difference", "items", "better", "worse", "p", "p corrected"]
    rows = []
    for (model, against), found in board.pairs.items():
        for one in found:
            title = "mean" if one.benchmark == OVERALL else board.benchmarks[one.benchmark].title
            counts = [f"{one.n:,}", f"{one.wins:,}", f"{one.losses:,}"]
            cells = [signed(one.interval), *counts, p_value(one.p_value), p_value(one.p_holm)]
            rows.append([f"{model} - {against}", title, *cells])
    return Grid("Paired differences, in points", header, rows)


def notes(board: Leaderboard) -> list[str]:
    """What a reader must know, in sentences."""
    found = [
        "Intervals are 95%; samples of one item count as one observation. An answer that states nothing is unparsed "
        "and counts as wrong; what the scorer could not decide counts as wrong too."
    ]
    if board.pairs:
        found.append(
            "p: exact sign test over items on which the two differ; corrected: by Holm's method for the number of "
            "benchmarks of a pair. Among twenty true zeros one uncorrected p falls below 0.05."
        )
    found.append(
        "Detectable: the least true difference of two models with such scores that is noticed with 80% power at "
        "p < 0.05, were they to err independently; paired models usually do better."
    )
    for name, benchmark in board.benchmarks.items():
        contents = {str(row["content"]): row["num_items"] for row in board.rows if row["benchmark"] == name}
        for content, count in contents.items():
            found.append(_copy_note(name, benchmark, content, int(str(count))))
    return found


def _copy_note(name: str, benchmark: Benchmark, content: str, count: int) -> str:
    title, published = benchmark.title, benchmark.data.num_items
    known = benchmark.data.copies.get(content)
    of = f" of {published:,} published" if published and published != count else ""
    if known:
        return f"{title}: {count:,}{of} items, content {content} ({known})."
    return (
        f"{title}: {count:,}{of} items of a content that is not known ({content}). If it is what you expect, "
        f"benchmarks.{name}.data.content={content} holds later runs to it."
    )


def spread(interval: Interval) -> str:
    """`85.9 [84.0, 87.8]`"""
    return f"{interval.value:.1f} [{interval.low:.1f}, {interval.high:.1f}]"


def signed(interval: Interval) -> str:
    """`+1.2 [-0.4, +2.8]`"""
    return f"{interval.value:+.1f} [{interval.low:+.1f}, {interval.high:+.1f}]"


def p_value(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def markdown(board: Leaderboard) -> str:
    """All grids and notes as Markdown."""
    parts = [f"## {grid.title}\n\n{grid.markdown()}" for grid in grids(board)]
    return "\n\n".join([*parts, *notes(board)]) + "\n"


def latex(board: Leaderboard) -> str:
    """The scores as a LaTeX tabular (booktabs)."""
    grid = scores(board)
    lines = ["% needs \\usepackage{booktabs}", "\\begin{tabular}{l" + "r" * (len(grid.header) - 1) + "}", "\\toprule"]
    lines.append(_latex_row(grid.header) + " \\midrule")
    lines += [_latex_row(row) for row in grid.rows]
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(_escaped(cell, "&%$#_{}") for cell in cells) + " \\\\"


def _escaped(text: str, special: str) -> str:
    for sign in special:
        text = text.replace(sign, "\\" + sign)
    return text
