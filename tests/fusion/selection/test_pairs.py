"""The selection rules of FuseChat-3.0 on tables small enough to check by hand."""

from __future__ import annotations

import polars as pl
import pytest

from fusion.errors import ConfigError
from fusion.selection.base import PairPolicy, SourcePair, Split, Window, WindowScale, WithoutPair
from fusion.selection.best_of_all import BestOfAll
from fusion.selection.best_worst_per_source import BestWorstPerSource
from fusion.selection.by_domain import ByDomain
from fusion.selection.correct_vs_wrong import CorrectVsWrong
from fusion.selection.pairs import Selected, select
from fusion.selection.unused import unused
from fusion.selection.why import notes, unused_line

WIDE = Window(low=0.0, high=10.0)
PAIRS_FIRST = Split(sft_frac=0.0, without_pair=WithoutPair.SFT)


def frame(*rows: tuple[str, str, int, str, float | None], **changes: object) -> pl.DataFrame:
    """(prompt, source, index, outcome, reward); text `text<i>` of 5 characters, finished."""
    order = {"a": 0, "b": 1, "c": 2}
    table = [
        {
            "prompt_id": p, "dataset": "d", "domain": "m", "source": s, "source_order": order[s], "sample_index": i,
            "finish_reason": "stop", "length": 5, "folded": n, "outcome:check": o, "value:rm": v,
        }
        for n, (p, s, i, o, v) in enumerate(rows)
    ]  # fmt: skip
    schema = {"source_order": pl.Int32, "sample_index": pl.Int32, "value:rm": pl.Float32, "folded": pl.UInt64}
    return pl.DataFrame(table, schema_overrides=schema).with_columns(**changes)  # type: ignore[arg-type]


def prompts(*ids: str, dataset: str = "d") -> pl.DataFrame:
    columns = {"prompt_id": ids, "dataset": [dataset] * len(ids), "domain": ["m"] * len(ids)}
    return pl.DataFrame(columns)


def math(**changes: object) -> CorrectVsWrong:
    usual = {"rank_by": "rm", "correct_by": ["check"], "window": WIDE, "split": PAIRS_FIRST}
    return CorrectVsWrong(**(usual | changes))  # type: ignore[arg-type]


def best_worst(**changes: object) -> BestWorstPerSource:
    return BestWorstPerSource(**({"rank_by": "rm", "window": WIDE, "split": PAIRS_FIRST} | changes))  # type: ignore[arg-type]


def pair_keys(selected: Selected) -> list[tuple[str, str, int, str, int]]:
    columns = ["prompt_id", "chosen_source", "chosen_index", "rejected_source", "rejected_index"]
    return selected.pairs.select(columns).rows()


def reasons(drops: pl.DataFrame) -> dict[str, str]:
    return dict(drops.select("prompt_id", "reason").rows())


def test_a_pair_is_passing_highest_against_failing_lowest_of_one_source() -> None:
    rows = frame(
        ("p", "a", 0, "pass", 0.5), ("p", "a", 1, "pass", 0.7), ("p", "a", 2, "fail", 0.6), ("p", "a", 3, "fail", 0.1)
    )  # fmt: skip
    selected = select(rows, prompts("p"), math())
    assert pair_keys(selected) == [("p", "a", 1, "a", 3)]
    assert selected.pairs["margin"].to_list() == pytest.approx([0.6])
    assert reasons(selected.sft_drops) == {"p": "other_phase"}


def test_answers_of_two_sources_never_meet_in_a_pair() -> None:
    rows = frame(("p", "a", 0, "pass", 0.9), ("p", "b", 0, "fail", 0.1))
    selected = select(rows, prompts("p"), math())
    assert pair_keys(selected) == []
    assert reasons(selected.pair_drops) == {"p": "no_same_source_pair"}
    assert selected.sft.rows() == [("p", "a", 0)]


@pytest.mark.parametrize("outcome", ["error", "timeout", "not_applicable"])
def test_what_could_not_be_decided_is_neither_right_nor_wrong(outcome: str) -> None:
    rows = frame(("p", "a", 0, "pass", 0.9), ("p", "a", 1, outcome, 0.1), ("q", "a", 0, outcome, 0.9))
    selected = select(rows, prompts("p", "q"), math())
    assert pair_keys(selected) == []
    assert reasons(selected.pair_drops) == {"p": "no_failing_response", "q": "no_passing_response"}
    assert reasons(selected.sft_drops) == {"q": "no_passing_response"}


@pytest.mark.parametrize(
    ("margin", "kept"), [(0.009, False), (0.01, True), (0.1, True), (0.101, False), (-0.05, False)]
)
def test_the_window_is_closed_and_wants_a_positive_margin(margin: float, kept: bool) -> None:
    rows = frame(("p", "a", 0, "pass", 0.05 + margin), ("p", "a", 1, "fail", 0.05))
    selected = select(rows, prompts("p"), math(window=Window(low=0.01, high=0.10)))
    assert bool(selected.pairs.height) is kept
    if not kept:
        assert reasons(selected.pair_drops) == {"p": "margin_outside_window"}


def test_a_quantile_window_is_of_the_positive_margins() -> None:
    rows = frame(
        *[(f"p{i}", "a", 0, "pass", float(i)) for i in range(1, 6)],
        *[(f"p{i}", "a", 1, "fail", 0.0) for i in range(1, 6)],
        ("n", "a", 0, "pass", -9.0), ("n", "a", 1, "fail", 0.0),
    )  # fmt: skip
    window = Window(low=0.25, high=0.75, scale=WindowScale.QUANTILE)
    selected = select(rows, prompts("n", *[f"p{i}" for i in range(1, 6)]), math(window=window))
    assert [row[0] for row in pair_keys(selected)] == ["p2", "p3", "p4"]


def test_all_rewards_equal_make_no_pair() -> None:
    rows = frame(("p", "a", 0, "pass", 0.5), ("p", "a", 1, "pass", 0.5))
    assert reasons(select(rows, prompts("p"), best_worst()).pair_drops) == {"p": "tie"}


def test_one_distinct_text_makes_no_pair() -> None:
    rows = frame(("p", "a", 0, "pass", 0.5), ("p", "a", 1, "pass", 0.1), folded=pl.lit(7, pl.UInt64))
    assert select(rows, prompts("p"), best_worst()).pairs.height == 0


def test_ties_go_to_the_shorter_text_then_source_order_then_index() -> None:
    rows = frame(("p", "b", 0, "pass", 0.5), ("p", "a", 1, "pass", 0.5), ("p", "a", 0, "pass", 0.5))
    rows = rows.with_columns(pl.Series("length", [4, 5, 5]))
    assert select(rows, prompts("p"), math()).sft.rows() == [("p", "b", 0)]
    level = rows.with_columns(length=pl.lit(5))
    assert select(level, prompts("p"), math()).sft.rows() == [("p", "a", 0)]


def test_a_truncated_answer_wins_nothing_and_loses_only_by_switch() -> None:
    rows = frame(("p", "a", 0, "pass", 0.9), ("p", "a", 1, "fail", 0.1), ("q", "a", 0, "pass", 0.9))
    rows = rows.with_columns(pl.Series("finish_reason", ["stop", "length", "length"]))
    selected = select(rows, prompts("p", "q"), math())
    assert selected.pairs.height == 0
    assert reasons(selected.sft_drops) == {"q": "truncated"}
    assert pair_keys(select(rows, prompts("p", "q"), math(truncated_rejected=True))) == [("p", "a", 0, "a", 1)]


def test_empty_answers_and_answers_without_a_reward_are_not_used() -> None:
    rows = frame(("p", "a", 0, "pass", 0.9), ("p", "a", 1, "fail", None), ("q", "a", 0, "pass", 0.9))
    rows = rows.with_columns(pl.Series("length", [5, 5, 0]))
    selected = select(rows, prompts("p", "q"), math())
    assert selected.pairs.height == 0
    assert reasons(selected.pair_drops)["q"] == "no_response"


@pytest.mark.parametrize(
    ("choice", "winner"),
    [(SourcePair.BEST_SOURCE, ["a"]), (SourcePair.LARGEST_GAP, ["b"]), (SourcePair.ALL, ["a", "b"])],
)
def test_which_source_gives_the_pair_is_a_switch(choice: SourcePair, winner: list[str]) -> None:
    rows = frame(
        ("p", "a", 0, "pass", 0.9), ("p", "a", 1, "fail", 0.8), ("p", "b", 0, "pass", 0.7), ("p", "b", 1, "fail", 0.1)
    )  # fmt: skip
    selected = select(rows, prompts("p"), math(source_pair=choice))
    assert selected.pairs["chosen_source"].to_list() == winner
    assert selected.pairs["pair_index"].to_list() == list(range(len(winner)))


def test_a_random_source_is_drawn_for_each_prompt_by_its_id_and_the_seed() -> None:
    names = [f"p{i}" for i in range(60)]
    rows = frame(*(
        (p, source, index, ("pass", "fail")[index], 0.9 - 0.1 * index)
        for p in names for source in ("a", "b", "c") for index in (0, 1)
    ))  # fmt: skip

    def drawn(seed: int, rows: pl.DataFrame = rows) -> list[str]:
        rule = math(source_pair=SourcePair.RANDOM, seed=seed)
        pairs = select(rows, prompts(*names), rule).pairs
        assert pairs["prompt_id"].to_list() == sorted(names)
        return pairs["chosen_source"].to_list()

    first = drawn(1)
    assert all(12 <= first.count(source) <= 28 for source in ("a", "b", "c"))
    assert drawn(1, rows.reverse()) == first
    assert drawn(2) != first


def test_an_answer_is_no_partner_of_its_own() -> None:
    """One answer a source, and no verifier: there is nothing to pair, which is another thing than a tie."""
    rows = frame(
        ("p", "a", 0, "pass", 0.9), ("p", "b", 0, "pass", 0.1), ("q", "a", 0, "pass", 0.5), ("q", "a", 1, "pass", 0.5)
    )
    selected = select(rows, prompts("p", "q"), best_worst())
    assert reasons(selected.pair_drops) == {"p": "no_same_source_pair", "q": "tie"}
    everyone = select(rows, prompts("p", "q"), best_worst(pair_policy=PairPolicy.ALL))
    assert pair_keys(everyone) == [("p", "a", 0, "b", 0)]


def test_a_data_set_without_any_pair_may_train_sft_whole() -> None:
    rows = frame(
        ("p", "a", 0, "pass", 0.9), ("q", "a", 0, "pass", 0.9), ("r", "a", 0, "pass", 0.9), ("r", "a", 1, "fail", 0.1)
    )
    asked = prompts("p", "q", "r").with_columns(dataset=pl.Series(["lone", "rich", "rich"]))
    split = Split(sft_frac=0.0, without_pair=WithoutPair.DROP_UNLESS_ALL)
    selected = select(rows, asked, math(split=split))
    assert selected.sft["prompt_id"].to_list() == ["p"]
    assert selected.pairs["prompt_id"].to_list() == ["r"]
    assert reasons(selected.sft_drops)["q"] == "no_failing_response"


def test_cross_source_pairs_are_of_two_sources() -> None:
    rows = frame(("p", "a", 0, "pass", 0.9), ("p", "a", 1, "fail", 0.1), ("p", "b", 0, "fail", 0.3))
    assert pair_keys(select(rows, prompts("p"), math(pair_policy=PairPolicy.CROSS_SOURCE))) == [("p", "a", 0, "b", 0)]
    assert pair_keys(select(rows, prompts("p"), math(pair_policy=PairPolicy.ALL))) == [("p", "a", 0, "a", 1)]
    # The only wrong answer is of the source of the best one: the next best source takes its place.
    rows = frame(("p", "a", 0, "pass", 0.9), ("p", "a", 1, "fail", 0.1), ("p", "b", 0, "pass", 0.3))
    assert pair_keys(select(rows, prompts("p"), math(pair_policy=PairPolicy.CROSS_SOURCE))) == [("p", "b", 0, "a", 1)]


@pytest.mark.parametrize(("total", "sft"), [(51_098, 20_439), (20_374, 8_149), (9_435, 3_774)])
def test_the_instruction_split_gives_the_published_counts(total: int, sft: int) -> None:
    """METHODS 7.2: int(0.4 N) of the prompts with a pair, per data set."""
    ids = [f"p{i}" for i in range(total)]
    rows = frame(("x", "a", 0, "pass", 0.9), ("x", "a", 1, "fail", 0.85))
    everything = pl.concat([rows.with_columns(prompt_id=pl.Series([i, i])) for i in ["x"]])
    many = pl.DataFrame({"prompt_id": ids}).join(everything.drop("prompt_id"), how="cross")
    many = many.with_columns(folded=pl.int_range(pl.len(), dtype=pl.UInt64))
    split = Split(sft_frac=0.4, without_pair=WithoutPair.DROP)
    selected = select(many, prompts(*ids), best_worst(window=Window(low=0.01, high=0.1), split=split))
    assert (selected.sft.height, selected.pairs.height) == (sft, total - sft)


def test_every_prompt_is_accounted_for_once_in_each_table() -> None:
    rows = frame(
        ("p", "a", 0, "pass", 0.9), ("p", "a", 1, "fail", 0.1), ("q", "a", 0, "pass", 0.9), ("r", "a", 0, "fail", 0.9)
    )  # fmt: skip
    selected = select(rows, prompts("p", "q", "r", "s"), math())
    for made, drops in ((selected.sft, selected.sft_drops), (selected.pairs, selected.pair_drops)):
        assert sorted([*made["prompt_id"], *drops["prompt_id"]]) == ["p", "q", "r", "s"]
    assert not set(selected.sft["prompt_id"]) & set(selected.pairs["prompt_id"])


def test_order_of_rows_does_not_reach_the_result() -> None:
    rows = frame(*[(f"p{i % 9}", "abc"[i % 3], i // 27, ["pass", "fail"][i % 2], (i * 7 % 11) / 10) for i in range(81)])
    one = select(rows, prompts(*[f"p{i}" for i in range(9)]), math(split=Split(sft_frac=0.5)))
    shuffled = rows.sample(fraction=1.0, shuffle=True, seed=3)
    two = select(shuffled, prompts(*[f"p{8 - i}" for i in range(9)]), math(split=Split(sft_frac=0.5)))
    assert one.sft.equals(two.sft)
    assert one.pairs.equals(two.pairs)


def test_a_window_upside_down_is_refused() -> None:
    with pytest.raises(ConfigError, match="swap them"):
        Window(low=0.2, high=0.1)


def test_each_domain_follows_its_own_rule() -> None:
    rows = frame(
        ("p", "a", 0, "pass", 0.9), ("p", "a", 1, "fail", 0.1), ("q", "a", 0, "fail", 0.9), ("q", "a", 1, "fail", 0.1)
    ).with_columns(domain=pl.Series(["math", "math", "chat", "chat"]))  # fmt: skip
    asked = prompts("p", "q").with_columns(domain=pl.Series(["math", "chat"]))
    rule = ByDomain(rules={"math": math(), "other": best_worst(window=WIDE, split=PAIRS_FIRST)})
    assert pair_keys(select(rows, asked, rule)) == [("p", "a", 0, "a", 1), ("q", "a", 0, "a", 1)]
    assert reasons(select(rows, asked, math()).pair_drops) == {"q": "no_passing_response"}


@pytest.mark.parametrize(
    ("domain", "known"),
    [("math", "math"), ("GSM8K", "math"), ("MATH-500", "math"), ("coding", "code"), ("mmlu", "other")],
)
def test_a_domain_goes_by_other_names_too(domain: str, known: str) -> None:
    rules = {"math": math(), "code": math(), "other": best_worst()}
    rule = ByDomain(rules=dict(rules), known_by={"math": ["math", "gsm"], "code": ["code", "coding"]})
    assert rule.parts([domain])[domain] is rules[known]


def test_known_by_names_rules_that_exist() -> None:
    with pytest.raises(ConfigError, match="known_by names 'maths'"):
        ByDomain(rules={"math": math()}, known_by={"maths": ["gsm"]})


def test_a_domain_without_a_rule_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="domain 'm'"):
        select(frame(("p", "a", 0, "pass", 0.9)), prompts("p"), ByDomain(rules={"math": math()}))


def test_an_answer_that_a_check_fails_neither_wins_nor_loses() -> None:
    rows = frame(("p", "a", 0, "pass", 0.9), ("p", "a", 1, "fail", 0.1), ("q", "a", 0, "pass", 0.9))
    rows = rows.with_columns(pl.Series("outcome:clean_text", ["pass", "fail", "fail"]))
    selected = select(rows, prompts("p", "q"), math(clean_by=["clean_text"]))
    assert selected.sft["prompt_id"].to_list() == ["p"]
    assert reasons(selected.sft_drops) == {"q": "unclean"}
    assert reasons(selected.pair_drops) == {"p": "no_failing_response", "q": "unclean"}


def test_answers_that_are_not_used_are_counted_by_source() -> None:
    rows = frame(
        ("p", "a", 0, "pass", 0.9), ("p", "a", 1, "fail", 0.1), ("p", "b", 0, "pass", None), ("p", "c", 0, "pass", 0.5)
    )  # fmt: skip
    rows = rows.with_columns(
        pl.Series("finish_reason", ["stop", "stop", "length", "stop"]),
        pl.Series("outcome:clean_text", ["pass", "pass", "pass", "fail"]),
        pl.Series("length", [5, 5, 5, 0]),
        pl.Series("folded", [7, 7, 8, 9], dtype=pl.UInt64),
    )
    found = unused(rows, math(clean_by=["clean_text"]))
    assert found == {"clean_text/c": 1, "duplicate/a": 1, "empty/c": 1, "truncated/b": 1, "unranked/b": 1}
    assert unused_line({"truncated/a": 3, "truncated/b": 1}) == "answers: 4 truncated (a 3, b 1)"


def test_without_a_reward_the_shorter_answer_is_taken_and_no_pair_is_made() -> None:
    rows = frame(("p", "a", 0, "not_applicable", None), ("p", "b", 0, "not_applicable", None))
    selected = select(rows.with_columns(length=pl.Series([9, 4])), prompts("p"), BestOfAll(rank_by=""))
    assert selected.sft["source"].to_list() == ["b"]
    assert not selected.pairs.height


def test_what_to_type_suits_the_window() -> None:
    lost = {"margin_outside_window": 27}
    assert "window.scale=quantile" in notes(lost, is_same_source=True, is_on_values=True)[0]
    assert "ArmoRM" not in notes(lost, is_same_source=True, is_on_values=False)[0]
