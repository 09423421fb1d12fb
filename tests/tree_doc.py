"""docs/tree.md: every file with what its first sentence says it is. `make tree` writes it."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("fusion", "actors", "conf", "cluster", "docs", "requirements", "tests")
DOC = ROOT / "docs" / "tree.md"
HEAD = "# Every file\n\nWhat each says of itself in its first sentence; `make tree` writes this list.\n"
MUTE = {
    "fusion/__main__.py": "`python -m fusion`.",
    "fusion/explicit/alignment.html.jinja": "The page of `fusion align`.",
    "fusion/judging/templates/alignbench.jinja": "What a judge is asked by AlignBench.",
    "fusion/judging/templates/alpaca_eval.jinja": "What a judge is asked by AlpacaEval 2.",
    "fusion/judging/templates/arena_hard.jinja": "What a judge is asked by Arena-Hard.",
    "fusion/judging/templates/mt_bench.jinja": "What a judge is asked by MT-Bench.",
    "fusion/judging/templates/pairwise.jinja": "What a judge of two answers is asked.",
    "fusion/judging/templates/pointwise.jinja": "What a judge of one answer is asked.",
    "fusion/report/dataset_card.md.jinja": "The card beside a data set.",
    "fusion/report/model_card.md.jinja": "The card beside a model.",
    "fusion/report/published.md.jinja": "The card of data sets that are pushed.",
    "fusion/report/report.css": "How the report looks.",
    "fusion/report/report.html.jinja": "The report.",
    "fusion/watching/page.css": "How the live page looks.",
    "fusion/watching/page.html": "The live page of `fusion status --serve`.",
    "fusion/watching/page.js": "What keeps the live page up to date.",
    "cluster/grafana/fusion.json": "The board.",
    "docs/report.png": "The report of a run, for the README.",
    "requirements/cpu.txt": "The lock of machines without a GPU.",
    "requirements/gpu.txt": "The lock of machines with an NVIDIA GPU.",
    "requirements/models.txt": "The packages that hold the quickstart's models.",
    "requirements/tests.txt": "What tests talk to.",
}
"""Files that cannot say it themselves: their first line is a user's, or they have none."""


def files(room: Path) -> list[Path]:
    """What lies in a room, folder by folder; neither what is made there nor what is empty."""
    found = [path.relative_to(ROOT) for path in room.rglob("*") if path.is_file() and path.stat().st_size]
    shipped = [path for path in found if not any(part.startswith((".", "__pycache__")) for part in path.parts)]
    return sorted((path for path in shipped if ROOT / path != DOC), key=lambda path: (path.parent, path.name))


def clause(path: Path) -> str:
    """The first sentence of its docstring, title or comment; empty: it has none."""
    if said := MUTE.get(str(path)):
        return said
    text = (ROOT / path).read_text("utf-8")
    if path.suffix == ".py":
        found = re.search(r'\Ar?"""(.*?)(?:"""|\n\n)', text, re.DOTALL)
    elif path.suffix == ".md":
        found = re.search(r"^# (.*)", text)
    else:
        found = re.search(r"^((?:# .*\n?)+)", re.sub(r"^#(!| @package).*\n", "", text), re.MULTILINE)
    said = " ".join(re.sub(r"^# ", "", found[1], flags=re.MULTILINE).split()) if found else ""
    return re.split(r"(?<=[\w)`])\. ", said)[0].rstrip(".:") + "." if said else ""


def tree() -> str:
    """The whole list."""
    lines = [HEAD]
    shipped = [path for room in ROOMS for path in files(ROOT / room)]
    for folder, members in groupby(shipped, key=lambda path: path.parent):
        lines.append(f"## {folder}/\n")
        lines += [f"- `{path.name}` {clause(path)}".rstrip() for path in members]
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    DOC.write_text(tree(), "utf-8")
