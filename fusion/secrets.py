"""Secrets do not belong in a config: it is stored with the run, shown in its report, and sent with a job.

A config names where a secret is: a file, or an environment variable of the nodes (`key_file`, `key_env`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from omegaconf import DictConfig, OmegaConf

from fusion.errors import ConfigError
from fusion.hygiene.credentials import credentials

URL_PASSWORD = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")


def refuse_secrets(tree: DictConfig) -> None:
    """Refuse a composed config with a credential of a known form, or a password in a URL.

    Raises:
        ConfigError: naming the key; the message does not repeat the secret.
    """
    for key, text in _texts(OmegaConf.to_container(tree, resolve=False), ""):
        if credentials(text) or URL_PASSWORD.search(text):
            raise ConfigError(
                f"{key} holds what looks like a secret; a config is stored with the run and shown in its report. Put "
                "the secret into a file or an environment variable of the nodes and give its name (key_file, key_env)"
            )


def _texts(value: object, key: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _texts(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{key}[{number}]")
    elif isinstance(value, str):
        yield key, value
