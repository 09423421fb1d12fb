"""`--where margin>0.05`: conditions on columns, and the columns they may name.

`rewards.armorm` is the value of that reward in a list of scores (SFT rows have `rewards`, pairs `chosen_rewards` and
`rejected_rewards`), and its outcome where it gives none.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from fusion.errors import ConfigError
from fusion.schema import SCORED

FORM = re.compile(r"\s*([\w.\-]+?)\s*(>=|<=|!=|=|>|<|~)\s*(.*?)\s*", re.DOTALL)
COMPARE: dict[str, Callable[[pa.Array, pa.Scalar], pa.Array]] = {
    "=": pc.equal, "!=": pc.not_equal, ">": pc.greater, ">=": pc.greater_equal, "<": pc.less, "<=": pc.less_equal,
}  # fmt: skip
NULL = "null"


def kept(rows: pa.Table, condition: str) -> pa.Table:
    """The rows that meet a condition. A comparison with nothing is never met, `=null` and `!=null` ask for it.

    Raises:
        ConfigError: it has no form, names no column, or compares what cannot be compared.

    Example: kept(pairs, "margin>=0.05"), kept(sft, "rewards.math_answer=pass"), kept(sft, "response~therefore")
    """
    match = FORM.fullmatch(condition)
    if match is None:
        raise ConfigError(
            f"--where {condition}: write COLUMN=VALUE, or != > >= < <= in place of =, or ~ for text that holds VALUE"
        )
    name, sign, value = match.groups()
    values = column(rows, name)
    if value == NULL and sign in ("=", "!="):
        return rows.filter(pc.is_null(values) if sign == "=" else pc.is_valid(values))
    if sign == "~":
        mask = pc.match_substring(pc.cast(values, pa.string()), value)
    elif pa.types.is_string(values.type) and sign not in ("=", "!="):
        raise ConfigError(f"--where {condition}: {name} is text, which is compared by =, != or ~")
    else:
        mask = COMPARE[sign](values, _literal(value, values.type, condition))
    return rows.filter(pc.fill_null(mask, False))


def column(rows: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    """A column by name, or one reward of a list of scores (`rewards.armorm`).

    Raises:
        ConfigError: there is none; names the closest.
    """
    outer, _, reward = name.partition(".")
    if outer in rows.column_names and rows.schema.field(outer).type == SCORED:
        return _scores(rows, outer, reward, name)
    if name in rows.column_names and not pa.types.is_nested(rows.schema.field(name).type):
        return rows[name]
    names = [field.name for field in rows.schema if not pa.types.is_nested(field.type)]
    lists = [field.name for field in rows.schema if field.type == SCORED]
    close = difflib.get_close_matches(name, [*names, *lists], n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]}?" if close else ""
    choice = ", ".join([*names, *(f"{one}.REWARD" for one in lists)])
    raise ConfigError(f"there is no column {name!r} to filter or sort by.{hint} There are {choice}")


def _scores(rows: pa.Table, outer: str, reward: str, name: str) -> pa.Array:
    lists: list[list[dict[str, object]]] = rows[outer].to_pylist()
    known = sorted({str(one["reward"]) for scores in lists for one in scores})
    if reward not in known and known:
        close = difflib.get_close_matches(reward, known, n=1)
        hint = f" Did you mean {outer}.{close[0]}?" if close else ""
        raise ConfigError(
            f"there is no reward {name!r}.{hint} There are {', '.join(f'{outer}.{one}' for one in known)}"
        )
    found = [next((one for one in scores if one["reward"] == reward), None) for scores in lists]
    values = [None if one is None else one["value"] for one in found]
    if any(value is not None for value in values):
        return pa.array(values, pa.float32())
    return pa.array([None if one is None else one["outcome"] for one in found], pa.string())


def _literal(value: str, kind: pa.DataType, condition: str) -> pa.Scalar:
    """The value as the column's own type: a margin of 0.05 is stored as fp32, and equals 0.05 there."""
    if pa.types.is_string(kind):
        return pa.scalar(value, kind)
    if pa.types.is_boolean(kind):
        if value.lower() not in ("true", "false"):
            raise ConfigError(f"--where {condition}: the column is true or false")
        return pa.scalar(value.lower() == "true", kind)
    try:
        number = float(value)
    except ValueError:
        raise ConfigError(f"--where {condition}: {value!r} is no number, and the column holds numbers") from None
    return pa.scalar(number, pa.float64() if pa.types.is_integer(kind) else kind)
