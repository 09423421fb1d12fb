import dataclasses

import pytest
import yaml

from fusion.errors import ConfigError
from fusion.report.cards import dataset_card, model_card
from tests.fusion.report.sample_run import CONFIG, SECRET


def front(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_the_model_card_names_base_licence_and_sources(record):
    card = model_card(record)
    assert front(card)["license"] == "apache-2.0"
    assert front(card)["base_model"] == ["HuggingFaceTB/SmolLM2-135M-Instruct"]
    assert "hf://google/gemma-3-270m" in card


def test_the_model_card_says_what_was_measured(record):
    card = model_card(record)
    for row in record.evaluation.read().to_pylist():
        assert f"{row['score']:.2f} [{row['low']:.2f}, {row['high']:.2f}]" in card


def test_a_missing_licence_is_said_not_guessed(record):
    card = model_card(dataclasses.replace(record, config=CONFIG.replace("licence: apache-2.0", "licence: ''")))
    assert front(card)["license"] == "other"
    assert "State it before you publish" in card


def test_a_run_without_evaluation_has_a_card(record):
    assert "## Evaluation" not in model_card(dataclasses.replace(record, evaluation=None, comparison=None))


@pytest.mark.parametrize(("which", "column"), [("sft", "source"), ("pairs", "chosen_source")])
def test_data_set_cards_count_rows_by_source(record, which, column):
    table = getattr(record, which).read([column])
    card = dataset_card(record, which)
    assert card.count("---\n") >= 2
    assert f"{table.num_rows} rows" in card
    assert f"| gemma3_270m | {table.column(column).to_pylist().count('gemma3_270m')} |" in card


def test_a_data_set_of_several_licences_claims_none(record):
    assert front(dataset_card(record, "sft"))["license"] == "other"


@pytest.mark.parametrize("card", [model_card, lambda record: dataset_card(record, "sft")], ids=["model", "data"])
def test_cards_name_what_the_licences_ask_and_where_they_clash(record, card):
    assert "is a “Model Derivative”" in card(record)
    clashing = dataclasses.replace(record, config=CONFIG.replace("licence: gemma", "licence: mrl"))
    assert "- Conflict: Mistral AI Research License (gemma3_270m)" in card(clashing)


def test_an_unknown_data_set_is_refused_by_name(record):
    with pytest.raises(ConfigError, match="'rewards' is no data set of a run; choose sft or pairs"):
        dataset_card(record, "rewards")


def test_cards_hold_no_secret(record):
    hidden = CONFIG.replace("revision: 9b0cfec892e2bc2afd938c98eabe4e4a7b1e0ca1", f"revision: {SECRET}")
    assert SECRET[:12] not in model_card(dataclasses.replace(record, config=hidden))
