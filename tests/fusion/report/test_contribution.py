import dataclasses

import pytest

from fusion.report.contribution import contribution, supplied
from fusion.report.palette import Palette
from fusion.schema import RESPONSE
from tests.fusion.report.sample_run import CONFIG, sealed

PALETTE = Palette(["gemma3_270m", "smollm2_135m"])
PRICED = CONFIG.replace(
    "    sampling: {temperature: 0.8, max_new_tokens: 48}",
    "    generator: {budget: {usd_per_million_completion_tokens: 10}}",
)


def tokens_of(record, source):
    rows = record.responses[source].read().to_pylist()
    return {(row["prompt_id"], row["sample_index"]): row["num_tokens"] for row in rows}


def test_tokens_and_rows_are_those_of_the_tables(record):
    unit, parts = supplied(record)
    assert unit == "tokens"
    sft, pairs = record.sft.read().to_pylist(), record.pairs.read().to_pylist()
    for part in parts:
        tokens = tokens_of(record, part.source)
        mine = [row for row in sft if row["source"] == part.source]
        chosen = [row for row in pairs if row["chosen_source"] == part.source]
        assert part.made == sum(tokens.values())
        assert part.accepted == len(mine) + len(chosen)
        assert part.sizes["sft"] == sum(tokens[row["prompt_id"], row["sample_index"]] for row in mine)
        assert part.sizes["chosen"] == sum(tokens[row["prompt_id"], row["chosen_index"]] for row in chosen)
        assert part.sizes["rejected"] == sum(tokens[row["prompt_id"], row["rejected_index"]] for row in chosen)
        assert part.usd is None


def test_money_is_tokens_times_the_configured_price(record):
    _, parts = supplied(dataclasses.replace(record, config=PRICED))
    by_source = {part.source: part for part in parts}
    assert by_source["gemma3_270m"].usd == pytest.approx(by_source["gemma3_270m"].made * 10 / 1e6)
    assert by_source["smollm2_135m"].usd is None


def test_answers_without_a_count_of_tokens_are_measured_in_characters(record, tmp_path):
    rows = record.responses["gemma3_270m"].read().to_pylist()
    stored = sealed(tmp_path / "stored", RESPONSE, [row | {"num_tokens": None, "seed": None} for row in rows], {})
    mixed = dataclasses.replace(record, responses={**record.responses, "gemma3_270m": stored})
    unit, parts = supplied(mixed)
    assert unit == "characters"
    assert parts[0].made == sum(len(row["text"]) for row in rows)


def test_shares_add_up_to_everything(record):
    shown = contribution(record, PALETTE)
    for column in range(3):
        assert sum(float(row["shares"][column]["bar"]) for row in shown["rows"]) == pytest.approx(100, abs=0.2)


def test_a_source_that_won_nothing_says_so(record):
    pairs, sft = (
        dataclasses.replace(one, manifest={**one.manifest, "parts": []}) for one in (record.pairs, record.sft)
    )
    shown = contribution(dataclasses.replace(record, pairs=pairs, sft=sft), PALETTE)
    assert {row["per_accepted"] for row in shown["rows"]} == {"none accepted"}


def test_a_run_without_training_rows_has_no_such_table(record):
    assert contribution(dataclasses.replace(record, sft=None, pairs=None), PALETTE) is None
