"""`fusion explain [RUN] KEY`: prompt, candidates with every score, what was chosen, by which rule, and what it beat."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fusion.errors import ConfigError
from fusion.ledger.asked import in_a_line
from fusion.ledger.keys import find
from fusion.ledger.show import cut
from fusion.ledger.story import story

Value = Mapping[str, object]


def explain(arguments: Sequence[str]) -> int:
    """Print one prompt's whole story."""
    parser = argparse.ArgumentParser(
        prog="fusion explain", description="the whole story of one prompt, SFT row or pair"
    )
    parser.add_argument("--runs", default="runs", help="folder of runs")
    parser.add_argument("words", nargs="+", metavar="[RUN] KEY", help="without a run, the newest run that has the key")
    parser.add_argument("--full", action="store_true", help="whole texts of the answers")
    parser.add_argument("--json", action="store_true", help="everything as one JSON object")
    options = parser.parse_args(arguments)
    if len(options.words) > 2:
        raise ConfigError(f"explain takes a run and a key, or a key; got {' '.join(options.words)}")
    run = options.words[0] if len(options.words) == 2 else None
    told = story(find(options.runs, run, options.words[-1]))
    if options.json:
        print(json.dumps(told, ensure_ascii=False, default=str))
        return 0
    _tell(told, Console(), options.full)
    return 0


def _tell(told: Value, console: Console, full: bool) -> None:
    if "drop" in told:
        drop = _map(told["drop"])
        console.print(f"[bold]{escape(str(drop['key']))}[/] of run {escape(str(told['run']))} was not let in:")
        console.print(Text(f"  {drop['reason']}: {drop['meaning']}  {drop.get('detail', '')}"), soft_wrap=True)
        return
    prompt = _map(told["prompt"])
    where = f"run {told['run']}, domain {prompt['domain']}, data set {prompt['dataset']}"
    console.print(f"[bold]prompt[/] {prompt['prompt_id']}  {escape(where)}")
    for message in prompt["messages"]:  # type: ignore[attr-defined]
        console.print(Text(f"  {message['role']}: {message['content'].strip()}"), soft_wrap=True)
    if prompt["reference"] is not None:
        console.print("[bold]reference[/]", Text(cut(str(prompt["reference"]), 400)), soft_wrap=True)
    console.print("\n[bold]asked[/]")
    alike: dict[str, list[str]] = {}
    for label, how in _map(told["sources"]).items():
        alike.setdefault(in_a_line(_map(how)), []).append(label)
    for how, labels in alike.items():
        console.print(Text(f"  {', '.join(labels)}: {how}"), soft_wrap=True)
    if "rule" in told:
        console.print("\n[bold]rule[/]", Text(str(told["rule"])), soft_wrap=True)
    console.print("\n[bold]candidates[/]")
    console.print(_candidates(told, full))
    for line in _fate(told):
        console.print(Text.from_markup(line), soft_wrap=True)


def _candidates(told: Value, full: bool) -> Table:
    roles = _roles(told)
    table = Table(box=None, pad_edge=False, row_styles=["", "dim"])
    for name in ("answered by", "role", "standing", "scores", "tokens", "end", "seed"):
        table.add_column(name, overflow="fold", justify="right" if name in ("tokens", "seed") else "left")
    table.add_column("text", ratio=1, overflow="fold")
    for one in told["candidates"]:  # type: ignore[attr-defined]
        standing = one.get("standing") or {}
        unit = (one["source"], one["sample_index"])
        cells = (
            f"{one['answered_by']} {one['sample_index']}",
            ", ".join(roles.get(unit, [])) if standing else "",
            standing.get("note", ""),
            "\n".join(_score(name, score) for name, score in one["scores"].items() if _says(score)),
            one["num_tokens"],
            one["finish_reason"],
            one["seed"],
            one["text"] if full else cut(one["text"]),
        )
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in cells))
    return table


def _roles(told: Value) -> dict[tuple[object, object], list[str]]:
    roles: dict[tuple[object, object], list[str]] = {}
    for row in told["sft"]:  # type: ignore[attr-defined]
        roles.setdefault((row["source"], row["sample_index"]), []).append("SFT")
    for row in told["pairs"]:  # type: ignore[attr-defined]
        for kind in ("chosen", "rejected"):
            roles.setdefault((row[f"{kind}_source"], row[f"{kind}_index"]), []).append(f"{kind} {row['pair_index']}")
    return roles


def _says(score: Value) -> bool:
    """A verifier that does not apply says nothing."""
    return score["outcome"] != "not_applicable" or score["value"] is not None


def _score(name: str, score: Value) -> str:
    value = "" if score["value"] is None else f" {float(str(score['value'])):.4g}"
    outcome = "" if score["outcome"] == "not_applicable" else f" {score['outcome']}"
    detail = f" ({cut(str(score['detail']), 60)})" if score["detail"] else ""
    return f"{name}:{outcome}{value}{detail}"


def _fate(told: Value) -> list[str]:
    lines = []
    for row in told["sft"]:  # type: ignore[attr-defined]
        lines.append(f"\n[green]SFT row[/] by rule {row['rule']}: {escape(_unit(row, ''))} {_beaten(told)}")
    for row in told["pairs"]:  # type: ignore[attr-defined]
        lines.append(
            f"\n[green]pair {row['pair_index']}[/] by rule {row['rule']}: {escape(_unit(row, 'chosen_'))} beats "
            f"{escape(_unit(row, 'rejected_'))}, margin {row['margin']:.4f}"
        )
    if told["pairs"]:
        lines += _rivals(told)
    for drop in told["not_in"]:  # type: ignore[attr-defined]
        lines.append(f"\n[yellow]not in {drop['table']}[/]: {drop['reason']}: {escape(str(drop['meaning']))}")
    return lines


def _beaten(told: Value) -> str:
    others = [one for one in told["candidates"] if one.get("standing", {}).get("may_be_chosen")]  # type: ignore[attr-defined]
    if len(others) < 2:
        return "is the only answer that may be chosen"
    second = others[1]
    return escape(f"beats {len(others) - 1} others; next is {_unit(second, '')}: {second['standing']['note']}")


def _rivals(told: Value) -> list[str]:
    kept = {(row["chosen_source"], row["chosen_index"], row["rejected_index"]) for row in told["pairs"]}  # type: ignore[attr-defined]
    lines = []
    for one in told.get("rivals", []):  # type: ignore[attr-defined]
        (source, index), (other, worse) = one["chosen"], one["rejected"]
        if (source, index, worse) in kept:
            continue
        window = {True: "inside the window", False: "outside the window", None: "window in quantiles"}[one["inside"]]
        lines.append(
            f"  not kept: {escape(f'{source} sample {index} over {other} sample {worse}')}, "
            f"margin {one['margin']:.4f}, {window}"
        )
    return lines


def _unit(row: Value, prefix: str) -> str:
    index = row["sample_index"] if not prefix else row[f"{prefix}index"]
    return f"{row[f'{prefix}source']} sample {index}"


def _map(value: object) -> Value:
    assert isinstance(value, Mapping)
    return value
