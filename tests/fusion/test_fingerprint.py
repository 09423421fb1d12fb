"""Identity: stable, sensitive to what matters, refusing what it cannot name."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from enum import Enum

import pytest

from fusion.errors import ConfigError
from fusion.fingerprint import canonical, differences, fingerprint


class Colour(Enum):
    RED = "red"


@dataclass
class Dpo:
    beta: float = 0.1


@dataclass
class LnDpo:
    beta: float = 0.1


@dataclass
class Grown:
    beta: float = 0.1
    label: str = field(default="a", metadata={"identity": False})
    smoothing: float = field(default=0.0, metadata={"absent_when": 0.0})


def test_order_of_keys_does_not_matter() -> None:
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": [1, 2], "a": 1})


def test_equal_fields_of_two_classes_differ() -> None:
    assert fingerprint(Dpo()) != fingerprint(LnDpo())


def test_a_field_added_later_moves_nothing_at_its_old_value() -> None:
    assert canonical(Grown()) == {"()": "Grown", "beta": 0.1}
    assert canonical(Grown(smoothing=0.1)) == {"()": "Grown", "beta": 0.1, "smoothing": 0.1}


def test_a_label_is_not_identity() -> None:
    assert fingerprint(Grown(label="x")) == fingerprint(Grown(label="y"))


def test_it_is_the_same_in_another_process() -> None:
    code = "from fusion.fingerprint import fingerprint as f; print(f({'b': [1.5, None, True], 'a': 'é'}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == fingerprint({"a": "é", "b": [1.5, None, True]})


@pytest.mark.parametrize("value", [float("nan"), lambda: 0, {1, 2}, object()])
def test_what_has_no_canonical_form_is_refused_by_name(value: object) -> None:
    with pytest.raises(ConfigError, match=r"config\.loss\.beta"):
        canonical({"loss": {"beta": value}})


def test_an_enum_is_its_value() -> None:
    assert canonical(Colour.RED) == "red"


def test_differences_name_the_leaf() -> None:
    old, new = {"config": {"beta": 0.1, "lr": 1}}, {"config": {"beta": 0.2, "lr": 1, "seed": 3}}
    assert differences(old, new) == ["config.beta 0.1 -> 0.2", "config.seed added (3)"]
