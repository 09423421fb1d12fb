"""A few training rows to read, in every domain. The text is a model's: it is shown, never interpreted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from fusion.artifact import Artifact
from fusion.report.number_text import signed, significant
from fusion.report.palette import Palette
from fusion.report.record import RunRecord

PER_DOMAIN = 2
LIMIT = 1500
"""Characters of a text that are shown; a report is for looking, the Parquet files are for reading."""

Row = Mapping[str, object]

CONTROL = {code: 0x2400 + code for code in range(32) if code not in (9, 10)} | {127: 0x2421}
"""Control characters -> their visible pictures."""


def pairs(record: RunRecord, palette: Palette) -> list[dict[str, object]]:
    """Examples by domain: prompt, chosen and rejected answer with their sources and rewards."""
    columns = ["domain", "messages", "chosen", "rejected", "chosen_source", "rejected_source"]
    columns += ["chosen_rewards", "rejected_rewards", "margin", "rule"]
    return [
        {
            "domain": domain,
            "rows": [
                {
                    "messages": _messages(row["messages"]),
                    "answers": [_answer(row, kind, palette) for kind in ("chosen", "rejected")],
                    "note": f"{row['rule']}, margin {signed(float(str(row['margin'])))}",
                }
                for row in rows
            ],
        }
        for domain, rows in _some(record.pairs, columns)
    ]


def sft(record: RunRecord, palette: Palette) -> list[dict[str, object]]:
    """Examples by domain: prompt and the answer that was selected."""
    columns = ["domain", "messages", "response", "source", "rewards", "rule"]
    return [
        {
            "domain": domain,
            "rows": [
                {
                    "messages": _messages(row["messages"]),
                    "answers": [
                        {
                            "kind": "selected",
                            "text": shown(str(row["response"])),
                            "source": row["source"],
                            "colour": palette[str(row["source"])],
                            "rewards": _rewards(row["rewards"]),
                        }
                    ],
                    "note": str(row["rule"]),
                }
                for row in rows
            ],
        }
        for domain, rows in _some(record.sft, columns)
    ]


def shown(text: str) -> str:
    """Text with control characters made visible, cut at `LIMIT`."""
    visible = text.translate(CONTROL)
    return visible if len(visible) <= LIMIT else f"{visible[:LIMIT]}… ({len(visible):,} characters)"


def _answer(row: Row, kind: str, palette: Palette) -> dict[str, object]:
    source = str(row[f"{kind}_source"])
    return {
        "kind": kind,
        "text": shown(str(row[kind])),
        "source": source,
        "colour": palette[source],
        "rewards": _rewards(row[f"{kind}_rewards"]),
    }


def _messages(messages: object) -> list[dict[str, str]]:
    assert isinstance(messages, list)
    return [{"role": shown(message["role"]), "content": shown(message["content"])} for message in messages]


def _rewards(scored: object) -> str:
    """`answer pass, likelihood −0.31`"""
    if not isinstance(scored, Sequence):
        return ""
    words = []
    for one in scored:
        value = "" if one["value"] is None else significant(one["value"])
        verdict = one["outcome"] if one["outcome"] in ("pass", "fail") else value
        words.append(f"{one['reward']} {verdict}")
    return ", ".join(words)


def _some(artifact: Artifact | None, columns: list[str]) -> list[tuple[str, list[Row]]]:
    """The first rows of each domain in order of their keys, which are hashes: a fixed random choice."""
    if artifact is None:
        return []
    domains = artifact.read(["domain"]).column("domain").to_pylist()
    wanted: dict[str, list[int]] = {}
    for number, domain in enumerate(domains):
        if len(wanted.setdefault(domain, [])) < PER_DOMAIN:
            wanted[domain].append(number)
    numbers = [number for chosen in wanted.values() for number in chosen]
    rows = dict(zip(numbers, artifact.read(columns).take(pa.array(numbers, pa.int64())).to_pylist(), strict=True))
    return [(domain, [rows[number] for number in chosen]) for domain, chosen in sorted(wanted.items())]
