"""Rules by domain: what is set for all of them reaches them, or is refused."""

from __future__ import annotations

import pytest

from fusion.config import composed, objects, typed
from fusion.errors import ConfigError
from fusion.selection.by_domain import ByDomain

EXPERIMENT = "experiment=fusechat3_llama31_8b"


@pytest.mark.parametrize("override", ["window.high=0.3", "window.scale=QUANTILE", "split.sft_frac=0.9"])
def test_what_each_rule_has_for_itself_is_refused_with_what_to_type(override: str) -> None:
    name = override.partition(".")[0]
    said = rf"selection\.{name} is set.* type selection\.rules\.instruction\.{name} .*code"
    with pytest.raises(ConfigError, match=said):
        typed(composed([EXPERIMENT, f"selection.{override}"]))


@pytest.mark.parametrize("selection", ["fusechat3", "replay"])
@pytest.mark.parametrize("override", ["seed=7", "source_pair=RANDOM", "truncated_rejected=true", "pair_policy=ALL"])
def test_what_is_set_for_all_rules_reaches_them(selection: str, override: str) -> None:
    name = override.partition("=")[0]
    rule = objects(composed([EXPERIMENT, f"selection={selection}", f"selection.{override}"])).selection
    assert isinstance(rule, ByDomain)
    rule.check()
    pairing = {domain: one for domain, one in rule.rules.items() if domain != "chinese" or name == "seed"}
    assert {getattr(one, name) for one in pairing.values()} == {getattr(rule, name)}
    assert getattr(rule, name) != getattr(ByDomain(), name)


def test_a_field_that_no_rule_takes_is_refused() -> None:
    own = [f"selection.rules.{domain}.seed=1" for domain in ("instruction", "math", "code", "chinese")]
    with pytest.raises(ConfigError, match=r"selection\.seed is set.* for each of instruction, math, code, chinese"):
        typed(composed([EXPERIMENT, "selection.seed=7", *own]))
