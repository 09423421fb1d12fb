"""A tokenizer by the name people have for it, with what its tokens stand for in bytes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fusion.errors import ConfigError
from fusion.explicit.spans import Spans, spans
from fusion.explicit.vocabulary import Vocabulary, of_fast_tokenizer, of_sentencepiece


@dataclass(frozen=True)
class TextTokenizer:
    """Text to ids, and ids to bytes.

    Example: load(Path("tokenizer.json")).encode("Hello").ends
    """

    name: str
    vocabulary: Vocabulary
    ids_of: Callable[[str], list[int]]
    """Without the special tokens that some tokenizers add."""

    def encode(self, text: str) -> Spans:
        """Raises:
        SpanError: the tokens do not spell the text.
        """
        return spans(text, self.ids_of(text), self.vocabulary)


def load(path: Path) -> TextTokenizer:
    """A tokenizer from a model folder, a tokenizer.json or .json.gz, or a sentencepiece model (.model, .model.v3).

    Raises:
        ConfigError: there is no such thing, or its pieces are of an unknown kind.
    """
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return _of_sentencepiece(path) if ".model" in path.name else _of_file(path, _shown(path))
    raise ConfigError(f"{path}: there is no such file or folder; name a model folder or a tokenizer.json")


def _shown(path: Path) -> str:
    return path.parent.name if path.name.startswith("tokenizer.") and path.parent.name else path.name


def _of_folder(folder: Path) -> TextTokenizer:
    for file in ("tokenizer.json", "tokenizer.json.gz"):
        if (folder / file).is_file():
            return _of_file(folder / file, folder.name)
    models = sorted(folder.glob("*.model*"))
    if models:
        return _of_sentencepiece(models[0])
    raise ConfigError(f"{folder} holds neither tokenizer.json nor a sentencepiece model")


def _of_file(file: Path, name: str) -> TextTokenizer:
    from tokenizers import Tokenizer

    try:
        data = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        tokenizer = Tokenizer.from_str(data.decode())
    except Exception as error:  # the library raises a bare Exception
        raise ConfigError(f"{file} is no tokenizer: {error}") from error
    vocabulary = of_fast_tokenizer(tokenizer, name)
    return TextTokenizer(name, vocabulary, lambda text: list(tokenizer.encode(text, add_special_tokens=False).ids))


def _of_sentencepiece(file: Path) -> TextTokenizer:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise ConfigError(f"{file} is a sentencepiece model; type: pip install sentencepiece") from error
    try:
        processor = SentencePieceProcessor(model_file=str(file))
    except (OSError, RuntimeError) as error:
        raise ConfigError(f"{file} is no sentencepiece model: {error}") from error
    return TextTokenizer(_shown(file), of_sentencepiece(processor), processor.encode)
