"""README.md of a published run: what is in it, whose terms apply and where they clash, and how it was made."""

from __future__ import annotations

from collections.abc import Sequence

import yaml  # type: ignore[import-untyped]

from fusion.publish.parcels import SETS, Parcel
from fusion.report import ingredients
from fusion.report.accounts import lost_rows, step_name
from fusion.report.build import environment
from fusion.report.cards import UNSTATED, size_category
from fusion.report.licences import Licensed, conflicts
from fusion.report.number_text import count
from fusion.report.record import RunRecord
from fusion.report.redact import mask_values, redacted

ABOUT = {
    "sft": "a conversation and the answer that was selected for supervised fine-tuning",
    "dpo": "a conversation with a chosen and a rejected answer, their sources, rewards and margin",
    "responses": "one answer of one source, with tokens, finish reason and seed",
    "rewards": "one score of one answer by one verifier or reward model",
    "prompts": "a conversation that ends with the user, its domain, and the reference answer where there is one",
}
STEPS = {"sft": "sft/train", "dpo": "pairs/train"}
SETTINGS = (
    "name",
    "recipe",
    "seed",
    "near_duplicates",
    "sources",
    "target",
    "prompts",
    "replay",
    "rewards",
    "selection",
)
"""Parts of the config that bear on the data; where it ran and lies is nobody's business."""


def parts(record: RunRecord) -> list[Licensed]:
    """Models and data sets that the published rows were made of."""
    return [*ingredients.models(record), *ingredients.data_sets(record)]


def licence_conflicts(record: RunRecord) -> list[str]:
    """Sentences; see `fusion.report.licences`."""
    return conflicts(parts(record), ingredients.target(record))


def card(record: RunRecord, parcels: Sequence[Parcel], where: str) -> str:
    """The whole text.

    Args:
        where: what `load_dataset` is to be given: a folder, or `owner/name`.
    """
    by_name = {parcel.name: parcel for parcel in parcels}
    lost = {name: _reasons(record, step) for name, step in STEPS.items()}
    target = ingredients.target(record)
    shown = ["sft", "dpo", "responses"]
    versions = record.result.get("versions")
    text = (
        environment(autoescape=False)
        .get_template("published.md.jinja")
        .render(
            front=yaml.safe_dump(_front(record, parcels), sort_keys=False, allow_unicode=True),
            experiment=record.experiment,
            where=where,
            sets=[
                {"name": one.name, "rows": count(one.rows), "about": ABOUT[one.name], "columns": one.columns}
                for one in parcels
            ],
            missing=[(name, lost.get(name, "")) for name in SETS if name not in by_name],
            masked=count(masked) if (masked := sum(one.masked for one in parcels)) else "",
            conflicts=licence_conflicts(record),
            parts=[*parts(record), *([target] if target is not None else [])],
            models=[model for name, model in record.models.items() if name in record.responses or not record.responses],
            by_source=[by_name[name] for name in shown if name in by_name],
            by_domain=[one for one in parcels if one.by_domain],
            domains=sorted({domain for one in parcels for domain in one.by_domain}),
            drops=[(name, reasons) for name, reasons in lost.items() if reasons and name in by_name],
            config=settings(record),
            versions=dict(sorted(versions.items())) if isinstance(versions, dict) else {},
        )
    )
    return mask_values(text)


def settings(record: RunRecord) -> str:
    """The settings that bear on the data as yaml, secrets masked."""
    kept = {key: record.settings[key] for key in SETTINGS if record.settings.get(key) not in (None, {}, [])}
    return redacted(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)) if kept else ""


def _front(record: RunRecord, parcels: Sequence[Parcel]) -> dict[str, object]:
    """What the hub reads. It gets a licence only where all parts have the same one."""
    held = {part.licence for part in parts(record)}
    one = next(iter(held)) if len(held) == 1 else ""
    return {
        "license": one if one and "+" not in one else UNSTATED,
        "task_categories": ["text-generation"],
        "tags": ["fusion", "model-fusion", "synthetic", *(name for name in ("sft", "dpo") if name in _names(parcels))],
        "size_categories": [size_category(max((parcel.rows for parcel in parcels), default=0))],
        "configs": [
            {"config_name": parcel.name, "data_files": [{"split": "train", "path": f"{parcel.name}/*.parquet"}]}
            | ({"default": True} if number == 0 else {})
            for number, parcel in enumerate(parcels)
        ],
    }


def _names(parcels: Sequence[Parcel]) -> list[str]:
    return [parcel.name for parcel in parcels]


def _reasons(record: RunRecord, step: str) -> str:
    """`120 no same source pair, 79 no failing response`"""
    found = [lost_rows(one) for one in record.steps if step_name(one) == step]
    return ", ".join(
        f"{count(rows)} {reason.replace('_', ' ')}" for reason, rows in (found[0] if found else {}).items()
    )
