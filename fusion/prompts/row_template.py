"""Templates over the rows of a data set: how a benchmark's row becomes a question, a gold answer, a name.

Variables are the row's columns (names with spaces too, through `row`). A column that is not there is an error, not an
empty text, unless the template asks for it with `is defined`.

Filters: `lettered` (options as lines `A. first`), `shuffled(seed)` (a list in an order that its seed decides), `hashed`
(a name for a text that shall not be shown), and Jinja's own (`tojson`, `trim`, `join`).
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

from fusion.errors import ConfigError
from fusion.schema import hash_text

if TYPE_CHECKING:
    from jinja2 import Template

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def render(template: str, row: Mapping[str, object], key: str, **more: object) -> str:
    """The filled template, as it stands: no space is taken away, markup is not escaped.

    Args:
        key: names the row in errors.

    Raises:
        ConfigError: the template is malformed, or asks for a column that the row lacks.

    Example: render("{{ question }}?", {"question": "1 + 1"}, "sums:0") == "1 + 1?"
    """
    from jinja2 import TemplateError

    try:
        return str(_compiled(template).render({**row, "row": row, **more}))
    except (TemplateError, TypeError, ValueError, KeyError) as error:
        columns = ", ".join(sorted(map(str, row)))
        raise ConfigError(
            f"{key}: template {template[:60]!r} does not render: {error}; the row has the columns {columns}"
        ) from error


def holds(condition: str, row: Mapping[str, object], key: str) -> bool:
    """Whether a Jinja condition (`level == "Level 5"`) is true of the row; an empty one is.

    Raises:
        ConfigError: as `render`.
    """
    return not condition or render(f"{{% if {condition} %}}y{{% endif %}}", row, key) == "y"


def lettered(options: Sequence[object]) -> str:
    """Example: lettered(["first", "second"]) == "A. first\\nB. second" """
    return "\n".join(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=False))


def shuffled(items: Sequence[object], seed: str) -> list[object]:
    """The items in an order that only `seed` decides."""
    order = list(items)
    random.Random(int(hash_text(seed), 16)).shuffle(order)  # noqa: S311 (an order, no secret)
    return order


@cache
def _compiled(text: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    # Jinja's own tojson escapes <, > and & for HTML, which would change references.
    environment.filters |= {"lettered": lettered, "shuffled": shuffled, "hashed": hash_text, "tojson": _json}
    return environment.from_string(text)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
