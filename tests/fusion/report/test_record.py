from fusion.report.record import RunRecord
from tests.fusion.report.sample_run import CONFIG


def test_rewards_belong_to_the_longest_source_that_fits(record):
    """`gemma-large-answer` is the reward `answer` of `gemma-large`, not `large-answer` of `gemma`."""
    one = record.responses["gemma3_270m"]
    names = ("responses/gemma", "responses/gemma-large", "rewards/gemma-answer", "rewards/gemma-large-answer")
    found = RunRecord.of("", {}, dict.fromkeys(names, one))
    assert sorted(found.rewards) == [("gemma", "answer"), ("gemma-large", "answer")]


def test_answers_of_the_evaluation_are_not_training_data(record):
    one = record.responses["gemma3_270m"]
    found = RunRecord.of(CONFIG, {}, {"responses/gemma3_270m": one, "responses/evaluation-final": one})
    assert list(found.responses) == ["gemma3_270m"]


def test_models_are_those_of_the_config(record):
    assert {name: model.hub_id for name, model in record.models.items()} == {
        "gemma3_270m": "google/gemma-3-270m",
        "smollm2_135m": "HuggingFaceTB/SmolLM2-135M-Instruct",
    }
