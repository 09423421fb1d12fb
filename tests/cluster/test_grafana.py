"""The board shows what the code tells, all of it and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from actors.metrics import COUNTERS, GAUGES, HISTOGRAMS, exported

BOARD = json.loads((Path(__file__).resolve().parents[2] / "cluster" / "grafana" / "fusion.json").read_text())
PANELS = {panel["title"]: panel for panel in BOARD["panels"]}
QUERIES = [target["expr"] for panel in BOARD["panels"] for target in panel["targets"]]
TAGS = {
    f"ray_{name}{ending}": set(tags)
    for kind, ending in ((COUNTERS, "_total"), (GAUGES, ""), (HISTOGRAMS, "_bucket"))
    for name, (_, tags) in kind.items()
}


def metrics(text: str) -> set[str]:
    return set(re.findall(r"\bray_\w+", text))


def test_every_metric_has_a_panel_and_every_panel_a_metric() -> None:
    assert set().union(*map(metrics, QUERIES)) == exported() == set(TAGS)
    assert all(metrics(query) for query in QUERIES)


def test_the_choice_of_a_run_is_filled_from_a_metric_that_exists() -> None:
    choice = next(one for one in BOARD["templating"]["list"] if one["name"] == "run")
    assert metrics(choice["definition"]) <= exported()


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_tags_that_its_metric_has(query: str) -> None:
    (metric,) = metrics(query)
    grouped = {tag.strip() for group in re.findall(r"by \((.*?)\)", query) for tag in group.split(",")}
    filtered = set(re.findall(r"(\w+)=~?\"", query))
    assert grouped | filtered <= TAGS[metric] | ({"le"} if metric.endswith("_bucket") else set())
    assert 'run=~"$run"' in query
    assert query.count("(") == query.count(")")


@pytest.mark.parametrize("title", PANELS)
def test_a_legend_names_what_its_query_groups_by(title: str) -> None:
    for target in PANELS[title]["targets"]:
        grouped = {tag.strip() for group in re.findall(r"by \((.*?)\)", target["expr"]) for tag in group.split(",")}
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) == grouped - {"le"}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
