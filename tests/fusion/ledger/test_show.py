"""`fusion show`: the rows that were asked for, all of them, and no others."""

import pytest


def test_without_a_table_all_are_listed(call, record):
    code, out, _ = call("show", "sample")
    assert code == 0
    listed = dict(line.split() for line in out.splitlines()[1:])
    assert listed["sft/train"] == str(record.sft.accounts.rows_out)
    assert listed["responses/gemma3_270m"] == f"{record.responses['gemma3_270m'].accounts.rows_out:,}"
    assert "drops/pairs/train" in listed


@pytest.mark.parametrize(
    ("arguments", "meets"),
    [
        (("--source", "gemma3_270m"), lambda row: row["chosen_source"] == "gemma3_270m"),
        (("--domain", "gcd"), lambda row: row["domain"] == "gcd"),
        (("--rule", "correct_vs_wrong"), lambda row: row["rule"] == "correct_vs_wrong"),
        (("--rule", "another"), lambda row: False),
        (("--where", "margin>0.8"), lambda row: row["margin"] > 0.8),
        (("--where", "margin<=0.8"), lambda row: row["margin"] <= 0.8),
        (("--where", "domain!=gcd"), lambda row: row["domain"] != "gcd"),
        (("--where", "chosen_index=2"), lambda row: row["chosen_index"] == 2),
        (("--where", "chosen~Let me think"), lambda row: "Let me think" in row["chosen"]),
        (("--domain", "gcd", "--where", "margin >= 0.5", "--where", "margin < 1"),
         lambda row: row["domain"] == "gcd" and 0.5 <= row["margin"] < 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)  # fmt: skip
def test_conditions_keep_exactly_the_rows_that_meet_them(rows, arguments, meets):
    everything = rows("pairs")
    assert rows("pairs", *arguments) == [row for row in everything if meets(row)]


def test_a_margin_equals_its_own_printed_value(rows):
    """Margins are fp32: 0.3 there is not the double 0.3."""
    margin = rows("pairs")[0]["margin"]
    assert rows("pairs")[0] in rows("pairs", "--where", f"margin={margin}")


def test_a_reward_in_a_list_is_a_column(rows):
    def value(row):
        return next(one["value"] for one in row["rewards"] if one["reward"] == "likelihood")

    low = rows("sft", "--where", "rewards.likelihood<-0.6")
    assert low == [row for row in rows("sft") if value(row) < -0.6]
    assert 0 < len(low) < len(rows("sft"))
    assert rows("sft", "--where", "rewards.answer=pass") == rows("sft")


def test_rows_are_sorted_by_any_column(rows):
    margins = [row["margin"] for row in rows("pairs", "--sort", "margin", "--desc")]
    assert margins == sorted((row["margin"] for row in rows("pairs")), reverse=True)
    values = [row["rewards"][2]["value"] for row in rows("sft", "--sort", "rewards.likelihood")]
    assert values == sorted(values)


def test_a_kind_is_all_its_tables(rows, record):
    """Training answers and scores of every source; those of the evaluation have their own names."""
    number = sum(one.accounts.rows_out for one in record.responses.values())
    assert len(rows("responses")) == number
    timeouts = rows("rewards", "--where", "outcome=timeout", "--source", "smollm2_135m")
    assert timeouts
    assert {(row["reward"], row["source"]) for row in timeouts} == {("answer", "smollm2_135m")}
    assert {row["step"] for row in rows("drops")} >= {"sft/train", "pairs/train", "prompts/train"}


def test_answers_are_filtered_by_the_domain_of_their_prompt(rows, record):
    domains = {row["prompt_id"]: row["domain"] for row in rows("prompts")}
    found = rows("responses", "--domain", "products")
    assert found
    assert {domains[row["prompt_id"]] for row in found} == {"products"}
    assert "domain" not in found[0]


def test_only_the_columns_that_are_asked_for(rows):
    found = rows("pairs", "--columns", "margin,prompt_id", "--where", "chosen_source=smollm2_135m")
    assert found == [
        {"margin": row["margin"], "prompt_id": row["prompt_id"]}
        for row in rows("pairs")
        if row["chosen_source"] == "smollm2_135m"
    ]


def test_nothing_is_asked_for_by_name(rows):
    assert len(rows("rewards", "--where", "value=null", "--where", "reward=likelihood")) == 0
    assert rows("rewards", "--where", "reward=answer", "--where", "value!=null") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("pairs", "--where", "margn>1"), ["'margn'", "Did you mean margin?"]),
        (("pairs", "--where", "margin"), ["COLUMN=VALUE"]),
        (("pairs", "--where", "margin>wide"), ["'wide' is no number"]),
        (("pairs", "--where", "domain>gcd"), ["text", "="]),
        (("pairs", "--sort", "margins"), ["Did you mean margin?"]),
        (("pairs", "--desc"), ["--sort"]),
        (("sft", "--where", "rewards.likelyhood>0"), ["rewards.likelihood"]),
        (("prompts", "--rule", "x"), ["--rule", "prompt_id"]),
        (("pairs", "--columns", "margin,text"), ["'text'", "chosen_source"]),
        (("pair",), ["Did you mean pairs?"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_mistake_is_named_with_the_closest_right_word(call, arguments, words):
    code, _, err = call("show", "sample", *arguments)
    assert code == 2
    for word in words:
        assert word in err


def test_names_are_not_read_as_markup(call):
    code, out, _ = call("show", "sample", "sft", "--limit", "400")
    assert code == 0
    assert "of " in out.splitlines()[-1]
