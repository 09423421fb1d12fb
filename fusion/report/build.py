"""The report of a run: one HTML file that asks nobody for anything.

Charts are inline SVG, the style is inline CSS, there is no script, and a content security policy says so to the
browser. Every text goes through autoescaping: prompts and answers are written by models and data sets.
"""

from __future__ import annotations

from importlib import resources

import jinja2
from markupsafe import Markup

from fusion.errors import FusionError
from fusion.report import accounts, benchmarks, distributions, examples, ingredients, sources
from fusion.report.cleanliness import cleanliness
from fusion.report.contribution import contribution
from fusion.report.gates import gates
from fusion.report.headline import headline
from fusion.report.headroom import headroom
from fusion.report.leaving_out import leaving_out
from fusion.report.licences import conflicts
from fusion.report.palette import Palette
from fusion.report.record import RunRecord
from fusion.report.redact import mask_values, redacted
from fusion.report.results import results
from fusion.report.samples import load
from fusion.report.spending import spending
from fusion.report.training import training
from fusion.selecting import Selecting


def build(record: RunRecord) -> str:
    """The whole page. A section appears when its data is there; a run that only replayed answers has no curves."""
    measured = benchmarks.models(record.result)
    palette = Palette(measured or sorted({*record.sources, *record.responses}))
    samples = load(record, verdicts(record))
    page = environment(autoescape=True).get_template("report.html.jinja")
    return page.render(
        style=Markup(_read("report.css")),  # noqa: S704 our own file
        head=headline(record, palette),
        results=results(record, palette),
        benchmarks=benchmarks.benchmarks(record, palette),
        funnel=accounts.funnel(record),
        quality=sources.quality(samples, record.target),
        shares=sources.shares(record, palette),
        contribution=contribution(record, palette),
        headroom=headroom(record, samples),
        leaving_out=leaving_out(record, palette),
        cleanliness=cleanliness(record, palette),
        gates=gates(record),
        rewards=distributions.rewards(samples, palette),
        lengths=distributions.lengths(samples, palette),
        training=training(record),
        costs=accounts.costs(record),
        spending=spending(record),
        pairs=examples.pairs(record, palette),
        sft=examples.sft(record, palette),
        versions=_versions(record),
        models=list(record.models.values()),
        licences=conflicts([*ingredients.models(record), *ingredients.data_sets(record)], ingredients.target(record)),
        config=redacted(record.config),
        palette=palette,
    )


def verdicts(record: RunRecord) -> dict[str, list[str]]:
    """Domain -> the verifiers by which its rule tells right from wrong; empty where the rule is not at hand."""
    try:
        selecting = Selecting.of(record.artifacts)
    except FusionError:
        return {}
    if selecting is None:
        return {}
    verdicts = selecting.config.selection.verdicts()
    domains = selecting.prompts["domain"].unique().to_list()
    return {domain: names for domain in domains if (names := verdicts.of(domain))}


def environment(*, autoescape: bool) -> jinja2.Environment:
    """Templates of this folder; a name that is not given is an error, not an empty text."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=autoescape,  # noqa: S701 false for Markdown cards only
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _read(name: str) -> str:
    return (resources.files("fusion.report") / name).read_text(encoding="utf-8")


def _versions(record: RunRecord) -> dict[str, str]:
    found = record.result.get("versions")
    return {str(name): mask_values(str(version)) for name, version in found.items()} if isinstance(found, dict) else {}
