"""Where a model comes from, and its files on this machine."""

from __future__ import annotations

from dataclasses import dataclass, field

from omegaconf import MISSING


@dataclass(kw_only=True)
class ChatConfig:
    """How messages become the text a model sees; all of it bears identity. See `fusion.chat`."""

    template: str | None = None
    """Jinja chat template; null: the model's own (a model without one is then refused)."""
    system: str | None = None
    """System message put first when a prompt has none; null: none."""
    examples: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """Solved examples by domain (`prompt`, `response`), shown to models that were not trained to chat."""
    stop: list[str] = field(default_factory=list)
    """Strings at which a response ends, beside the end of turn."""


@dataclass(kw_only=True)
class ModelRef:
    """A model, pinned. `uri` is one of

    hf://org/name            revision: commit hash
    pypi://package/file.gguf revision: sha256 of the file (parts `a.gguf+b.gguf` are concatenated)
    file:///folder           revision: empty; the folder enters by the digest of its files
    """

    uri: str = MISSING
    revision: str = ""
    trust_remote_code: bool = False
    chat: ChatConfig = field(default_factory=ChatConfig)
