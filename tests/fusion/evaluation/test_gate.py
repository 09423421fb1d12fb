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


def test_point_estimates_decide_where_intervals_are_not_needed():
    table = comparison(overall=(0.04, -0.01, 0.09), gcd=(-0.02, -0.2, 0.2))
    assert decide(GateConfig(needs_interval=False, max_regression=0.05), table).promoted
    assert not decide(GateConfig(needs_interval=False), table).promoted


def test_an_opponent_that_was_not_evaluated_is_named():
    with pytest.raises(ConfigError, match=r"'sft'.*final against base"):
        decide(GateConfig(against="sft"), comparison(overall=(0.2, 0.1, 0.3)))


@pytest.mark.parametrize("setting", [{"min_gain": 15.0}, {"max_regression": -0.1}, {"max_regression": 5.0}])
def test_scores_in_percent_are_refused(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        GateConfig(**setting)
