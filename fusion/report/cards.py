"""Model card and data set cards: a README.md with the front matter that the Hugging Face Hub reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

import yaml  # type: ignore[import-untyped]

from fusion.artifact import Artifact
from fusion.errors import ConfigError
from fusion.evaluation.compare import OVERALL
from fusion.report import ingredients
from fusion.report.accounts import lost_rows, step_name
from fusion.report.build import environment
from fusion.report.headline import overall_gain
from fusion.report.licences import conflicts
from fusion.report.number_text import count, p_value, score, signed, signed_span, span
from fusion.report.record import RunRecord
from fusion.report.redact import mask_values
from fusion.report.results import domains_of, shown_models


class Dataset(StrEnum):
    """Data sets of a run that are published."""

    SFT = "sft"
    PAIRS = "pairs"


COLUMNS = {Dataset.SFT: "source", Dataset.PAIRS: "chosen_source"}

UNSTATED = "other"
"""What the hub calls a licence that it does not know; the card then says that someone must state it."""


def model_card(record: RunRecord, role: str = "final") -> str:
    """README.md of `models/<role>`."""
    target = record.models.get(record.target)
    stated = target.licence if target else ""
    front = {
        "license": stated or UNSTATED,
        "base_model": [target.hub_id] if target and target.hub_id else None,
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["fusion", "model-fusion", "fusechat"],
    }
    checkpoint = record.checkpoints.get(role)
    return _render(
        "model_card.md.jinja",
        front,
        record,
        role=role,
        target=record.target,
        is_stated=bool(stated),
        digest=checkpoint.digest if checkpoint else "",
        counts={which.value: _rows(record, which) for which in Dataset},
        table=_evaluation(record),
        gain=_gain(record),
    )


def dataset_card(record: RunRecord, which: Dataset | str) -> str:
    """`_README.md` of `data/<which>`: sft or pairs.

    Raises:
        ConfigError: there is no such data set, or this run did not make it.
    """
    if which not in list(Dataset):
        raise ConfigError(f"{which!r} is no data set of a run; choose {' or '.join(Dataset)}")
    artifact = _artifact(record, Dataset(which))
    if artifact is None:
        raise ConfigError(f"run {record.experiment} made no data set {which!r}; nothing to write a card for")
    number = artifact.read([COLUMNS[Dataset(which)]]).num_rows
    licenses = sorted({model.licence for model in record.models.values()})
    front = {
        "license": licenses[0] if len(licenses) == 1 and licenses[0] else UNSTATED,
        "task_categories": ["text-generation"],
        "tags": ["fusion", "preference" if which == Dataset.PAIRS else "sft", "synthetic"],
        "size_categories": [size_category(number)],
        "configs": [{"config_name": "default", "data_files": "*.parquet"}],
    }
    drops = [lost_rows(step) for step in record.steps if step_name(step) == f"{Dataset(which)}/train"]
    return _render(
        "dataset_card.md.jinja",
        front,
        record,
        which=str(which),
        rows=count(number),
        columns=[(field.name, str(field.type)) for field in artifact.table.schema],
        sources=_counted(artifact, COLUMNS[Dataset(which)]),
        domains=_counted(artifact, "domain"),
        drops={reason: count(rows) for reason, rows in (drops[0] if drops else {}).items()},
        key=", ".join(artifact.table.key),
    )


def _render(name: str, front: Mapping[str, object], record: RunRecord, **context: object) -> str:
    stated = {key: value for key, value in front.items() if value}
    versions = record.result.get("versions")
    text = (
        environment(autoescape=False)
        .get_template(name)
        .render(
            front=yaml.safe_dump(stated, sort_keys=False, allow_unicode=True),
            experiment=record.experiment,
            models=list(record.models.values()),
            conflicts=conflicts(
                [*ingredients.models(record), *ingredients.data_sets(record)], ingredients.target(record)
            ),
            sources=context.pop("sources", record.sources),
            versions=dict(sorted(versions.items())) if isinstance(versions, dict) else {},
            **context,
        )
    )
    return mask_values(text)


def _evaluation(record: RunRecord) -> dict[str, object] | None:
    if record.evaluation is None:
        return None
    rows = record.evaluation.read().to_pylist()
    cells = {(row["model"], row["domain"]): row for row in rows}
    domains = [*domains_of(rows), OVERALL]
    body = [(model, [_cell(cells[model, domain]) for domain in domains]) for model in shown_models(rows, record.target)]
    return {"domains": domains, "rows": body}


def _cell(row: Mapping[str, float]) -> str:
    return f"{score(row['score'])} {span(row['low'], row['high'])}"


def _gain(record: RunRecord) -> str:
    gain = overall_gain(record)
    if gain is None:
        return ""
    interval = signed_span(gain["low"], gain["high"])
    return f"{signed(gain['difference'])} {interval} over {gain['n']} unseen prompts (p {p_value(gain['p_value'])})"


def _artifact(record: RunRecord, which: Dataset) -> Artifact | None:
    return {Dataset.SFT: record.sft, Dataset.PAIRS: record.pairs}[which]


def _rows(record: RunRecord, which: Dataset) -> str:
    artifact = _artifact(record, which)
    return "" if artifact is None else count(sum(part.rows for part in artifact.parts))


def _counted(artifact: Artifact, column: str) -> list[tuple[str, str]]:
    found = Counter(artifact.read([column]).column(column).to_pylist())
    return [(name, count(rows)) for name, rows in sorted(found.items())]


def size_category(rows: int) -> str:
    """How the hub writes a number of rows."""
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if rows < limit:
            return name
    return "1M<n<10M"
