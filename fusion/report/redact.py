"""A config without its secrets. They should not be in a config at all; a report that leaks one is worse than an error.

A value is masked when its key names a secret, or when it looks like one wherever it stands.
"""

from __future__ import annotations

import re

import yaml  # type: ignore[import-untyped]

Settings = dict[str, object]

MASK = "********"

SECRET_KEY = re.compile(
    r"(^|_)(token|secret|password|passwd|passphrase|credentials?|auth|authorization|cookie|private|webhook)(_|$)"
    r"|(^|_)(api|access|account|encryption|signing|ssh|hf|wandb|openai)_?key(_|$)",
    re.IGNORECASE,
)
SECRET_VALUE = re.compile(
    r"hf_[A-Za-z0-9]{16,}|sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)|(?i:\bbearer\s+)[\w.~+/-]{8,}=*"
    r"|(?i:(?<=[?&])(?:X-Amz-Signature|sig|token|key|signature)=)[^&\s]+"
)


def parse(config: str) -> Settings:
    """The yaml as plain values, secrets masked; empty if it is not a yaml mapping."""
    try:
        tree = yaml.safe_load(config)
    except yaml.YAMLError:
        return {}
    masked = _masked(tree)
    return masked if isinstance(masked, dict) else {}


def redacted(config: str) -> str:
    """The yaml, secrets masked. Text that does not parse is masked by the look of its values only."""
    settings = parse(config)
    if not settings:
        return mask_values(config)
    return str(yaml.dump(settings, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))


def mask_values(text: str) -> str:
    """Text with everything masked that looks like a token, a key, or a password in a URL."""
    return SECRET_VALUE.sub(MASK, text)


def _masked(value: object, is_secret: bool = False) -> object:
    if isinstance(value, dict):
        return {key: _masked(item, is_secret or _is_secret(str(key))) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item, is_secret) for item in value]
    if value is None or value == "" or isinstance(value, bool):
        return value
    if is_secret:
        return MASK
    return mask_values(value) if isinstance(value, str) else value


def _is_secret(key: str) -> bool:
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_")
    return SECRET_KEY.search(snake) is not None


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Long texts (templates, system messages) as blocks rather than with escapes."""


def _text(dumper: _Dumper, value: str) -> object:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)
