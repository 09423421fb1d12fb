"""What a judge is asked: a Jinja template over the conversation and one answer, or two.

Variables: `messages` (role, content), `reference` (gold answer or none), and `answer`, `low`, `high` where one answer
gets a number, `answer_a`, `answer_b` where two are compared. The template asks for a verdict in double square brackets.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import ConfigError

if TYPE_CHECKING:
    from jinja2 import Template

OWN = Path(__file__).parent / "templates"
PROBE_WORD = "q5ab1e0"
PROBE: dict[str, object] = {
    "messages": [{"role": "user", "content": PROBE_WORD}],
    "reference": None,
    "low": "1",
    "high": "10",
}


def read_template(path: str, name: str, answers: tuple[str, ...]) -> str:
    """The text of a template, seen to render and to show what is to be judged.

    Args:
        path: the file, or the name of one of this package without its ending; empty: the one called `name`.
        name: `pointwise` or `pairwise`.
        answers: names of the variables that hold answers.

    Raises:
        ConfigError: there is no such file, it does not render, or leaves something out.
    """
    is_own = not path or (path.isidentifier() and (OWN / f"{path}.jinja").is_file())
    file = OWN / f"{path or name}.jinja" if is_own else Path(path).expanduser()
    if not file.is_file():
        raise ConfigError(f"judge template {file} is not there (from {Path.cwd()}); set rewards.judge.template")
    text = file.read_text("utf-8")
    shown = {variable: f"5ab1e0-{variable}" for variable in answers}
    from jinja2 import TemplateError

    try:
        rendered = render(text, PROBE | shown)
    except TemplateError as error:
        raise ConfigError(f"judge template {file} does not render: {type(error).__name__}: {error}") from error
    for variable, value in {"messages": PROBE_WORD, **shown}.items():
        if value not in rendered:
            raise ConfigError(f"judge template {file} does not show {variable}; put {{{{ {variable} }}}} into it")
    return text


def render(text: str, variables: Mapping[str, object]) -> str:
    """The filled template, without space around it. Markup in answers stays as it is: nothing is escaped."""
    return str(_compiled(text).render(**variables)).strip()


@cache
def _compiled(text: str) -> Template:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    return SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(text)
