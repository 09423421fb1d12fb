"""Where an OpenAI-compatible server is, and how it is asked."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from omegaconf import MISSING

from fusion.errors import ConfigError
from fusion.spending import anchored

VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(kw_only=True)
class EndpointConfig:
    """One model behind one URL. The API key is named here, never given.

    Example: EndpointConfig(url="http://10.0.0.5:8000/v1", model="Qwen/Qwen2.5-72B-Instruct")
    """

    url: str = field(default=MISSING, metadata={"identity": False})
    """Base URL, most often ending in /v1."""
    model: str = MISSING
    """The name under which the server has it. A dated name where there is one, not an alias that moves."""
    answers_as: str = field(default="", metadata={"absent_when": ""})
    """The name that its replies carry, where it is another; empty: the same. A reply of any other name is refused."""
    key_env: str = field(default="", metadata={"identity": False})
    """Environment variable that holds the API key, where the endpoint is used; empty: see `key_file`."""
    key_file: str = field(default="", metadata={"identity": False})
    """File that holds the API key; empty: none is sent."""
    concurrency: int = field(default=32, metadata={"identity": False})
    """Requests of one worker in flight."""
    timeout_s: float = field(default=300.0, metadata={"identity": False})
    """Silence after which an attempt is given up."""
    retry_s: float = field(default=300.0, metadata={"identity": False})
    """Time in which a request is tried again; afterwards it has failed. Keep it below the worker's `stall_s`."""

    def __post_init__(self) -> None:
        self.key_file = anchored(self.key_file)
        if self.url != MISSING:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ConfigError(f"endpoint.url must be like http://host:8000/v1, got {self.url.rpartition('@')[2]!r}")
            if "@" in parts.netloc or parts.query:
                raise ConfigError(
                    "endpoint.url holds a user or a query; secrets belong in endpoint.key_env or key_file"
                )
        if self.key_env and not VARIABLE.fullmatch(self.key_env):
            raise ConfigError("endpoint.key_env must be the name of an environment variable, like OPENAI_API_KEY")
        if self.key_env and self.key_file:
            raise ConfigError("endpoint.key_env and endpoint.key_file are both set; the key is in one of them")
        for name, low in (("concurrency", 1), ("timeout_s", 0.1), ("retry_s", 0.0)):
            if getattr(self, name) < low:
                raise ConfigError(f"endpoint.{name} must be at least {low}, got {getattr(self, name)}")


def api_key(config: EndpointConfig) -> str:
    """The key, or an empty string if none is to be sent.

    Raises:
        ConfigError: it is not where the config says.
    """
    if config.key_env:
        key = os.environ.get(config.key_env, "")
        where = f"the environment variable {config.key_env} (endpoint.key_env)"
    elif config.key_file:
        path = Path(config.key_file).expanduser()
        key = path.read_text("utf-8") if path.is_file() else ""
        where = f"the file {path} (endpoint.key_file)"
    else:
        return ""
    if not key.strip():
        raise ConfigError(f"{where} holds no API key on the machine that asks the endpoint; put it there")
    return key.strip()
