import pytest

from fusion.errors import ConfigError
from fusion.evaluation.gate import GateConfig, decide
from fusion.schema import COMPARISON


def comparison(**domains: tuple[float, float, float]):
    """COMPARISON of final minus base: domain=(difference, low, high)."""
    rows = [
        {
            "model": "final",
            "against": "base",
            "domain": domain,
            "difference": difference,
            "low": low,
            "high": high,
            "n": 40,
            "wins": 1,
            "losses": 1,
            "p_value": 1.0,
        }
        for domain, (difference, low, high) in domains.items()
    ]
    return COMPARISON.build(rows)


def test_a_certain_gain_without_losses_is_promoted():
    table = comparison(overall=(0.2, 0.1, 0.3), gcd=(-0.02, -0.1, 0.06))
    decision = decide(GateConfig(), table)
    assert decision.promoted
    assert decision.reasons == ("overall gained 0.20 [0.10, 0.30], surely above 0.00", "none of 1 domains is lost")


def test_a_gain_that_may_be_chance_is_not_promoted():
    decision = decide(GateConfig(), comparison(overall=(0.04, -0.01, 0.09), gcd=(0.04, -0.01, 0.09)))
    assert not decision.promoted
    assert decision.reasons[0] == "overall gained 0.04 [-0.01, 0.09], not surely above 0.00"


def test_a_lost_domain_is_named_with_its_loss():
    table = comparison(overall=(0.2, 0.1, 0.3), letter_counting=(-0.12, -0.19, -0.05), gcd=(0.5, 0.4, 0.6))
    decision = decide(GateConfig(), table)
    assert not decision.promoted
    assert decision.reasons[1:] == ("letter_counting lost 0.12 [0.05, 0.19]",)


def test_a_tolerated_loss_does_not_block():
    table = comparison(overall=(0.2, 0.1, 0.3), letter_counting=(-0.12, -0.19, -0.05))
    assert decide(GateConfig(max_regression=0.15), table).promoted


LOST = comparison(overall=(0.2, 0.1, 0.3), humaneval=(-0.12, -0.19, -0.05), mbpp=(-0.12, -0.18, -0.06), amc23=(0, 0, 0))
AREAS = {"humaneval": "code", "mbpp": "code", "amc23": "math"}


@pytest.mark.parametrize(
    ("settings", "lost"),
    [
        ({}, ["humaneval", "mbpp"]),
        ({"max_regression_of": {"humaneval": 0.15}}, ["mbpp"]),
        ({"max_regression": 0.15}, []),
        ({"max_regression": 0.15, "max_regression_of": {"mbpp": 0.05}}, ["mbpp"]),  # stricter than the others
        ({"max_regression": 0.12}, []),  # as much as is allowed
        ({"max_regression_in": {"code": 0.15}}, []),
        ({"max_regression_in": {"math": 0.15}}, ["humaneval", "mbpp"]),
        ({"max_regression": 0.15, "max_regression_in": {"code": 0.05}}, ["humaneval", "mbpp"]),
        ({"max_regression_in": {"code": 0.15}, "max_regression_of": {"mbpp": 0.05}}, ["mbpp"]),  # its own limit wins
    ],
)
def test_a_limit_holds_for_what_it_names(settings, lost):
    decision = decide(GateConfig(**settings), LOST, areas=AREAS)
    assert decision.promoted == (not lost)
    assert [reason.split()[0] for reason in decision.reasons[1:]] == (lost or ["none"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"max_regression_of": {"humanevl": 0.1}}, "max_regression_of names 'humanevl'.*did you mean humaneval"),
        ({"max_regression_in": {"maths": 0.1}}, "max_regression_in names 'maths'.*did you mean math.*are code, math$"),
    ],
)
def test_a_limit_of_what_was_not_compared_is_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        decide(GateConfig(**settings), LOST, areas=AREAS)


def test_held_out_domains_have_no_areas():
    with pytest.raises(ConfigError, match="max_regression_in names 'code'.*there are none"):
        decide(GateConfig(max_regression_in={"code": 0.1}), LOST)


def test_a_loss_that_may_be_chance_blocks_nothing_where_intervals_count():
    table = comparison(overall=(0.2, 0.1, 0.3), amc23=(-0.1, -0.25, 0.05))
    assert decide(GateConfig(), table).promoted
    assert decide(GateConfig(needs_interval=False), table).reasons[1:] == ("amc23 lost 0.10 [-0.05, 0.25]",)


def test_a_gain_must_be_above_the_least_one_and_not_equal_to_it():
    table = comparison(overall=(0.2, 0.1, 0.3))
    assert not decide(GateConfig(min_gain=0.1), table).promoted
    assert decide(GateConfig(min_gain=0.09), table).promoted


def test_rows_of_other_pairs_are_not_looked_at():
    rows = comparison(overall=(0.2, 0.1, 0.3), gcd=(-0.5, -0.6, -0.4)).to_pylist()
    table = COMPARISON.build([*comparison(overall=(0.2, 0.1, 0.3), gcd=(0.2, 0.1, 0.3)).to_pylist(),
                              *({**row, "model": "sft"} for row in rows)])  # fmt: skip
    assert decide(GateConfig(), table).promoted
    assert not decide(GateConfig(), table, model="sft").promoted


def test_point_estimates_decide_where_intervals_are_not_needed():
    table = comparison(overall=(0.04, -0.01, 0.09), gcd=(-0.02, -0.2, 0.2))
    assert decide(GateConfig(needs_interval=False, max_regression=0.05), table).promoted
    assert not decide(GateConfig(needs_interval=False), table).promoted


def test_an_opponent_that_was_not_evaluated_is_named():
    with pytest.raises(ConfigError, match=r"'sft'.*final against base"):
        decide(GateConfig(against="sft"), comparison(overall=(0.2, 0.1, 0.3)))


@pytest.mark.parametrize("setting", [
        {"min_gain": 15.0}, {"max_regression": -0.1}, {"max_regression": 5.0}, {"max_regression_of": {"amc23": 5.0}},
        {"max_regression_in": {"math": 5.0}},
    ],
)  # fmt: skip
def test_scores_in_percent_are_refused(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        GateConfig(**setting)
