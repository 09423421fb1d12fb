import dataclasses
import html
import re
import time
from html.parser import HTMLParser

import pytest

from fusion.report.build import build, verdicts
from fusion.report.record import RunRecord
from fusion.report.samples import load
from fusion.schema import REWARD
from tests.fusion.report.sample_run import SECRET, sealed


@pytest.fixture(scope="module")
def page(record) -> str:
    return build(record)


def plain(page: str) -> str:
    """What a reader sees: tags away, entities kept, white space folded."""
    body = page[page.index("<body>") :]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


class Elements(HTMLParser):
    """Tags and attributes as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_asks_nobody_for_anything(page):
    elements = Elements(page).found
    named = [attrs.get(name) for _, attrs in elements for name in ("src", "href", "srcset", "action", "data", "poster")]
    assert [ref for ref in named if ref is not None and not ref.startswith(("#", "data:,"))] == []
    loading = {"script", "img", "iframe", "object", "embed", "form", "video", "audio"}
    assert loading.isdisjoint(tag for tag, _ in elements)
    assert not [attrs for _, attrs in elements if "url(" in (attrs.get("style") or "")]
    style = page[page.index("<style>") : page.index("</style>")]
    assert not re.search(r"@import|url\(|https?:", style)


def test_no_element_reacts_to_events(page):
    assert [attrs for _, attrs in Elements(page).found for name in attrs if name.startswith("on")] == []


def test_text_of_models_is_shown_and_never_interpreted(page):
    assert "&lt;script&gt;alert(" in page
    assert "<script" not in page
    assert "<img" not in page
    assert "\x00" not in page
    assert "␀␛[2J" in page


def test_secrets_of_the_config_are_masked(page):
    assert "********" in page
    assert SECRET not in page
    assert "hunter2secret" not in page


def test_scores_are_the_artifacts_numbers(record, page):
    text = plain(page)
    for row in record.evaluation.read().to_pylist():
        assert f"{row['score']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" in text


def test_the_headline_gain_is_the_comparisons(record, page):
    gains = {(row["model"], row["against"], row["domain"]): row for row in record.comparison.read().to_pylist()}
    row = gains["final", "base", "overall"]
    said = f"+{row['difference']:.2f} [+{row['low']:.2f}, +{row['high']:.2f}]"
    assert f"changed by {said}: of {row['n']} unseen prompts, {row['wins']} turned right" in plain(page)


def test_every_step_shows_its_rows_and_why_some_did_not_go_on(record, page):
    text = plain(page)
    for step in record.steps:
        if step["kind"] in ("evaluation", "comparison"):
            continue
        assert f"{step['kind']}/{step['label']}" in text
        for reason, number in {**step["dropped"], **step["failed"]}.items():
            assert f"{number} {reason.replace('_', ' ')}" in text


def test_training_rows_add_up_over_sources(record, page):
    table = record.sft.read(["source"]).column("source").to_pylist()
    assert f"gemma3_270m: {table.count('gemma3_270m')}" in page
    assert f"smollm2_135m: {table.count('smollm2_135m')}" in page


def test_best_of_all_sources_is_at_least_the_best_of_each(record):
    samples = load(record)
    everyone = samples.source_codes >= 0
    bests = [samples.any_pass_rate(samples.of(source)) for source in samples.sources]
    assert samples.any_pass_rate(everyone) >= max(bests)


def test_pass_rates_are_the_verdicts(record):
    samples = load(record)
    for source in samples.sources:
        outcomes = record.rewards[source, "answer"].read(["outcome"]).column("outcome").to_pylist()
        assert samples.pass_rate(samples.of(source)) == pytest.approx(outcomes.count("pass") / len(outcomes))


def test_a_response_that_no_reward_covers_did_not_pass(record, tmp_path):
    """A scorer failed on every other response: its rows are gone, the responses are still counted."""
    whole = record.rewards["gemma3_270m", "answer"]
    rows = whole.read(whole.table.schema.names).to_pylist()[::2]
    halved = sealed(tmp_path / "half", REWARD, rows, {})
    samples = load(dataclasses.replace(record, rewards={("gemma3_270m", "answer"): halved}))
    passed = [row["outcome"] for row in rows].count("pass")
    total = record.responses["gemma3_270m"].accounts.rows_out
    assert samples.pass_rate(samples.of("gemma3_270m")) == pytest.approx(passed / total)


def test_a_run_without_training_shows_what_it_has(record):
    bare = dataclasses.replace(record, checkpoints={}, evaluation=None, comparison=None, pairs=None)
    bare = dataclasses.replace(bare, result={"experiment": "replay", "steps": record.steps})
    page = build(bare)
    assert 'id="sources"' in page
    assert 'id="training"' not in page
    assert 'id="evaluation"' not in page
    assert "was not evaluated" in page


def test_an_empty_run_still_has_a_report():
    assert "nothing" in build(RunRecord(experiment="nothing"))


def test_the_page_is_small_and_quick(record):
    started = time.monotonic()
    size = len(build(record).encode())
    assert size < 1_500_000
    assert time.monotonic() - started < 3.0


def test_the_page_says_what_each_source_is_worth(record, page):
    text = plain(page)
    assert "Fusion has something to gain here" in text
    assert "Without gemma3_270m" in text
    assert "another model's identity" in html_text(page)
    assert "is a “Model Derivative”" in text


def test_verdicts_are_the_rules_own(record):
    """A verifier of cleanliness, or one that the rule does not ask, does not make an answer wrong."""
    domains = ["chain_sum", "gcd", "letter_counting", "products", "spell_backward"]
    assert verdicts(record) == {domain: ["answer"] for domain in domains}
    by_rule, without = load(record, verdicts(record)), load(record)
    assert by_rule.pass_rate(by_rule.of("gemma3_270m")) == without.pass_rate(without.of("gemma3_270m"))
    asked_otherwise = load(record, {"gcd": ["clean_text"]})
    inside = asked_otherwise.domain_codes == asked_otherwise.domains.index("gcd")
    assert asked_otherwise.pass_rate(inside) > 0.9


def html_text(page: str) -> str:
    return html.unescape(page)
