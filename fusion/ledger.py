"""Looking at what a run made: rows, one prompt's whole story, and what differs between two runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fusion.artifact import Artifact
from fusion.errors import ConfigError
from fusion.fingerprint import differences
from fusion.run_folder import RunFolder

TEXT_WIDTH = 72


def show(arguments: Sequence[str]) -> int:
    """`fusion show RUN [TABLE] [--where COLUMN=VALUE] [--limit N] [--json]`"""
    parser = _parser("show", "rows of a finished run")
    parser.add_argument("run")
    parser.add_argument(
        "table", nargs="?", help="sft, pairs, responses/gemma3_270m, drops/pairs/train, ...; none: list them"
    )
    parser.add_argument("--where", action="append", default=[], metavar="COLUMN=VALUE")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--json", action="store_true", help="one JSON object a line, whole texts")
    options = parser.parse_args(arguments)
    tables = _tables(RunFolder.open(options.runs, options.run))
    console = Console()
    if options.table is None:
        listing = Table("table", "rows", box=None)
        for name, rows in tables.items():
            listing.add_row(name, f"{rows.num_rows:,}")
        console.print(listing)
        return 0
    rows = tables[_closest_table(options.table, tables)]
    for condition in options.where:
        rows = rows.filter(_condition(condition, rows))
    kept = rows.slice(0, options.limit)
    if options.json:
        for row in kept.to_pylist():
            print(json.dumps(row, ensure_ascii=False))
    else:
        console.print(_rich(kept))
        console.print(f"{kept.num_rows:,} of {rows.num_rows:,} rows")
    return 0


def explain(arguments: Sequence[str]) -> int:
    """`fusion explain RUN KEY`: prompt, candidates with every score, what was chosen, and why."""
    parser = _parser("explain", "the whole story of one prompt")
    parser.add_argument("run")
    parser.add_argument("key", help="a prompt_id, or its first characters")
    options = parser.parse_args(arguments)
    tables = _tables(RunFolder.open(options.runs, options.run))
    console = Console()
    prompt = _one_prompt(options.key, tables)
    console.print(f"[bold]prompt[/] {prompt['prompt_id']}  domain {prompt['domain']}, data set {prompt['dataset']}")
    for message in prompt["messages"]:  # type: ignore[attr-defined]
        console.print(f"  {message['role']}: {escape(message['content'])}")
    if prompt["reference"] is not None:
        console.print(f"[bold]reference[/] {escape(_cut(str(prompt['reference'])))}")
    console.print(_candidates(str(prompt["prompt_id"]), tables))
    for line in _fate(str(prompt["prompt_id"]), tables):
        console.print(line)
    return 0


def diff(arguments: Sequence[str]) -> int:
    """`fusion diff RUN RUN`: settings, rows and scores that differ."""
    parser = _parser("diff", "what differs between two runs")
    parser.add_argument("old")
    parser.add_argument("new")
    options = parser.parse_args(arguments)
    from omegaconf import OmegaConf

    runs = [RunFolder.open(options.runs, name) for name in (options.old, options.new)]
    configs = [OmegaConf.to_container(OmegaConf.create(run.config_text)) for run in runs]
    results = [_comparable(run.result) for run in runs]
    for title, pair in (("settings", configs), ("results", results)):
        lines = differences(*pair)
        print(f"{title}: {'the same' if not lines else f'{len(lines)} differ'}")
        for line in lines:
            print(f"  {line}")
    return 0


def _parser(command: str, about: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"fusion {command}", description=about)
    parser.add_argument("--runs", default="runs", help="folder of runs")
    return parser


def _tables(run: RunFolder) -> dict[str, pa.Table]:
    """Every table of the run by step name (`pairs/train`), and its drops as `drops/pairs/train`."""
    found: dict[str, pa.Table] = {}
    for name, artifact in run.artifacts().items():
        if isinstance(artifact, Artifact):
            found[name] = artifact.read(artifact.table.schema.names)
            drops = artifact.drops()
            if drops.num_rows:
                found[f"drops/{name}"] = drops
    return dict(sorted(found.items()))


def _closest_table(wanted: str, tables: Mapping[str, pa.Table]) -> str:
    matching = [name for name in tables if name == wanted or name.startswith(f"{wanted}/")]
    if len(matching) != 1:
        raise ConfigError(
            f"there {'are several tables' if matching else 'is no table'} {wanted!r}; there are {', '.join(tables)}"
        )
    return matching[0]


def _condition(text: str, rows: pa.Table) -> pa.Array:
    column, sign, value = text.partition("=")
    if not sign or column not in rows.schema.names:
        raise ConfigError(f"--where {text}: write COLUMN=VALUE with one of {', '.join(rows.schema.names)}")
    return pc.equal(pc.cast(rows[column], pa.string()), value)


def _rich(rows: pa.Table) -> Table:
    table = Table(box=None, pad_edge=False, row_styles=["", "dim"])
    for name in rows.schema.names:
        table.add_column(name, overflow="fold")
    for row in rows.to_pylist():
        table.add_row(*(escape(_cut(_cell(value))) for value in row.values()))
    return table


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        if "content" in value[0]:
            return str(value[-1]["content"])
        return " ".join(f"{v['reward']}:{v['outcome']}:{_cell(v['value'])}" for v in value)
    return "" if value is None else str(value)


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= TEXT_WIDTH else flat[: TEXT_WIDTH - 1] + "…"


def _one_prompt(key: str, tables: Mapping[str, pa.Table]) -> dict[str, object]:
    rows = [row for name, table in tables.items() if name.startswith("prompts/") for row in table.to_pylist()]
    found = {row["prompt_id"]: row for row in rows if row["prompt_id"].startswith(key)}
    if len(found) != 1:
        what = f"{len(found)} prompts begin with" if found else "no prompt begins with"
        raise ConfigError(f"{what} {key!r}; `fusion show RUN sft` lists keys")
    return dict(next(iter(found.values())))


def _candidates(prompt: str, tables: Mapping[str, pa.Table]) -> Table:
    table = Table("answered by", "index", "tokens", "end", "scores", "seed", "text", box=None, pad_edge=False)
    scores: dict[tuple[str, int], list[str]] = {}
    for name, rewards in tables.items():
        if name.startswith("rewards/"):
            for row in rewards.filter(pc.equal(rewards["prompt_id"], prompt)).to_pylist():
                value = "" if row["value"] is None else f" {row['value']:.3f}"
                label = name.rsplit("-", 1)[-1]
                key = (name.removeprefix("rewards/").rsplit("-", 1)[0], row["sample_index"])
                scores.setdefault(key, []).append(f"{label}: {row['outcome']}{value}")
    for name, responses in tables.items():
        if not name.startswith("responses/"):
            continue
        label = name.removeprefix("responses/")
        for row in responses.filter(pc.equal(responses["prompt_id"], prompt)).to_pylist():
            said = "\n".join(scores.get((label, row["sample_index"]), []))
            cells = (
                label,
                row["sample_index"],
                row["num_tokens"],
                row["finish_reason"],
                said,
                row["seed"],
                _cut(row["text"]),
            )
            table.add_row(*(escape(str(cell)) for cell in cells))
    return table


def _fate(prompt: str, tables: Mapping[str, pa.Table]) -> list[str]:
    lines = []
    for name in sorted(tables):
        rows = tables[name]
        if name.startswith("sft/"):
            lines += [
                f"[green]SFT row[/] by rule {row['rule']}: {row['source']} sample {row['sample_index']}"
                for row in rows.filter(pc.equal(rows["prompt_id"], prompt)).to_pylist()
            ]
        elif name.startswith("pairs/"):
            lines += [
                f"[green]pair[/] by rule {row['rule']}: {row['chosen_source']} sample {row['chosen_index']} beats "
                f"{row['rejected_source']} sample {row['rejected_index']}, margin {row['margin']:.4f}"
                for row in rows.filter(pc.equal(rows["prompt_id"], prompt)).to_pylist()
            ]
        elif name.startswith(("drops/sft/", "drops/pairs/")):
            kind = name.split("/")[1]
            lines += [
                f"[yellow]not in {kind}[/]: {row['reason']}"
                for row in rows.filter(pc.equal(rows["key"], prompt)).to_pylist()
            ]
    return lines


def _comparable(result: Mapping[str, object]) -> dict[str, object]:
    """A result without what differs between any two runs."""
    steps: Sequence[Mapping[str, object]] = result["steps"]  # type: ignore[assignment]
    counts = {
        f"{s['kind']}/{s['label']}": {k: s[k] for k in ("rows_in", "rows_out", "dropped", "failed")} for s in steps
    }
    return {"steps": counts} | {key: result[key] for key in ("evaluation", "versions") if key in result}
