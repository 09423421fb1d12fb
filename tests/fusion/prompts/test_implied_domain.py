"""What a reference says of its prompt's kind."""

from __future__ import annotations

import pytest

from fusion.prompts.implied_domain import implied_domain

CASES = [
    ("18", "math"), (r"\frac{1}{2}", "math"), ("She has 2 + 70 = 72.\n#### 72", "math"), ("(1, 2)", "math"),
    ("[0, \\infty)", "math"), ("B", "choice"), ('{"answer": "B", "options": ["x", "y"]}', "choice"),
    ('["assert f(1) == 1"]', "code"), ("assert f(1) == 1\nassert f(2) == 2", "code"),
    ('{"tests": "def check(c):\\n    assert c(1)", "entry_point": "f"}', "code"),
    ("['a', 1]", "literal"), ("True", "literal"),
    ('{"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}', "instruction"), (None, "instruction"),
    ("", "instruction"), ("Paris", "instruction"),
    ("The Nile, which is 6,650 km long, flows north. " * 4, "instruction"),
]  # fmt: skip


@pytest.mark.parametrize(("reference", "domain"), CASES)
def test_the_reference_tells_the_domain(reference: str | None, domain: str) -> None:
    assert implied_domain(reference) == domain
