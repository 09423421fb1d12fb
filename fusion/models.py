"""Where a model comes from, and what it is. Its files on this machine are `fusion.modelfiles`'."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import dataclass, field
from math import prod
from pathlib import Path

from omegaconf import MISSING

from fusion.errors import ConfigError
from fusion.planning.shapes import Shape
from fusion.tree import file_sha256

COMMIT = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


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

    hf://org/name              revision: commit hash
    pypi://package/file.gguf   revision: sha256 of the file; files joined by `+` are concatenated first, and each may
                               lie in a package of its own: `pypi://one/data/a.part0+pypi://two/data/a.part1`
    file:///folder or a path   revision: filled in by `resolve`, the digest of the folder's files

    The revision alone is the identity: it is a content hash in each case, so a folder may move. A branch or tag of a
    hub may be typed for it; `fusion.revisions.pin` replaces it by its commit before anything else reads it.
    """

    uri: str = field(default=MISSING, metadata={"identity": False})
    revision: str = ""
    branch: str = field(default="", metadata={"identity": False})
    """Filled in: the branch or tag that stood for the revision."""
    licence: str = field(default="", metadata={"identity": False})
    """Identifier of its terms, as the hub spells it (apache-2.0, gemma, llama3.1); several joined by +; empty: not
    stated, and cards say so."""
    trust_remote_code: bool = False
    chat: ChatConfig = field(default_factory=ChatConfig)
    shape: Shape | None = field(default=None, metadata={"identity": False})
    """What its config.json says of its size, for plans made where it is not at hand; null: nothing is planned."""


def resolve(ref: ModelRef) -> None:
    """Complete what identity needs, in place; cheap but for a local folder, whose files are hashed.

    Raises:
        ConfigError: the revision is missing or no content hash, or the folder is not a model.
    """
    if ref.uri.startswith("hf://"):
        page = f"https://huggingface.co/{ref.uri.removeprefix('hf://')}/commits/main"
        _demand(ref, COMMIT, f"a full commit hash (40 hex digits; {page} shows them)")
    elif ref.uri.startswith("pypi://"):
        _demand(ref, SHA256, "the file's sha256 (64 hex digits; of the parts joined together, where there are several)")
    else:
        ref.revision = folder_digest(model_folder(ref.uri))


def _demand(ref: ModelRef, pattern: re.Pattern[str], what: str) -> None:
    if not pattern.fullmatch(ref.revision):
        found = f"revision is {ref.revision!r}" if ref.revision else "it has no revision"
        raise ConfigError(f"model {ref.uri} is not pinned: {found}; set its revision to {what}")


def model_folder(uri: str) -> Path:
    """The local folder that a `file://` uri or a plain path names.

    Raises:
        ConfigError: it is not there, or holds no config.json.
    """
    if "://" in uri and not uri.startswith("file://"):
        raise ConfigError(f"model {uri} has an unknown scheme; use hf://org/name, pypi://package/file.gguf or a folder")
    folder = Path(uri.removeprefix("file://")).expanduser().absolute()
    if not folder.is_dir():
        raise ConfigError(
            f"model folder {folder} does not exist; set model.uri to a folder with config.json, or to hf://org/name"
        )
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} holds no config.json, so it is no model; save one there with save_pretrained")
    return folder


def check_template(ref: ModelRef) -> None:
    """Refuse a local model that cannot chat before anything starts; of others it is known when they are prepared.

    Raises:
        ConfigError: neither the folder nor the config has a chat template.
    """
    if ref.chat.template is not None or ref.uri.startswith(("hf://", "pypi://")):
        return
    folder = model_folder(ref.uri)
    path = folder / "tokenizer_config.json"
    if not path.is_file() or any(folder.glob("chat_template.*")) or (folder / "additional_chat_templates").is_dir():
        return
    if not json.loads(path.read_text("utf-8")).get("chat_template"):
        raise ConfigError(
            f"{folder} has no chat template; set chat.template in its yaml to a Jinja template over messages, "
            "examples, bos_token and add_generation_prompt (conf/source/gemma3_270m.yaml shows one)"
        )


def folder_digest(folder: Path) -> str:
    """Content hash of a model folder; hidden files do not count."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    names = [p.relative_to(folder) for p in files]
    seen = [n for n in names if not any(part.startswith(".") for part in n.parts)]
    lines = [f"{name.as_posix()}:{file_sha256(folder / name)};" for name in seen]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model folder says of itself without being loaded."""

    model_type: str
    """Architecture family as config.json names it: llama, gemma3_text, qwen2."""
    max_model_len: int
    """Longest sequence in tokens."""
    num_parameters: int
    """Weights stored in its safetensors files; 0: there are none to look at."""


def model_facts(folder: Path) -> ModelFacts:
    """Read config.json and the headers of the safetensors files.

    Raises:
        ConfigError: config.json is missing or says no context length.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise ConfigError(f"{folder} holds no config.json, so it is no model")
    config = json.loads(path.read_text("utf-8"))
    text = config.get("text_config", config)
    lengths = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
    length = next((int(text[name]) for name in lengths if name in text), 0)
    if not length:
        raise ConfigError(
            f"{path} gives no context length; set generator.max_model_len, or add max_position_embeddings"
        )
    num_parameters = sum(_num_weights(file) for file in sorted(folder.glob("*.safetensors")))
    return ModelFacts(str(config["model_type"]), length, num_parameters)


def _num_weights(file: Path) -> int:
    with open(file, "rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header = json.loads(stream.read(length))
    return sum(prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def resolve_as(model: ModelRef, key: str, *, is_chat: bool = True) -> None:
    """`resolve` and, of a model that is to chat, `check_template` for the model under a key of a config, which a
    refusal names.
    """
    try:
        resolve(model)
        if is_chat:
            check_template(model)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from error
