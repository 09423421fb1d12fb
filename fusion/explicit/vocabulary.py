"""What each token of a vocabulary stands for, as bytes of text.

Two tokenizers share nothing but the text, so everything here is compared in bytes: byte-level pieces (`Ġthe`, the
GPT-2 alphabet) and sentencepiece pieces (`▁the`, `<0xE4>`) become the bytes that they decode to. Decoding a token
alone would lose its leading space, and the character offsets of fast tokenizers are wrong inside characters that are
several bytes, so neither is used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from fusion.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from sentencepiece import SentencePieceProcessor
    from tokenizers import Tokenizer

WORD_START = "▁"
"""Sentencepiece's mark of a space."""
BYTE_PIECE = re.compile(r"<0x([0-9A-F]{2})>")


@dataclass(frozen=True)
class Vocabulary:
    """Tokens by id.

    Example: Vocabulary((b"<s>", b" the", b"\\xe4"), frozenset({0})).pieces[1] == b" the"
    """

    pieces: tuple[bytes, ...]
    """Bytes of each token, its leading space included; of a special token its name; empty for an unused id."""
    special: frozenset[int]
    """Tokens that stand for no text: beginning and end of sequence, turns."""
    canonical: Callable[[str], str] = str
    """What the tokenizer makes of a text before it cuts it (NFC; a literal `▁` read as a space)."""
    strips: frozenset[int] = frozenset()
    """Added tokens that swallow the white space beside them."""
    prefix: bytes = b""
    """What the tokenizer puts before a text of its own accord: a space, or nothing."""

    def __len__(self) -> int:
        return len(self.pieces)

    @cached_property
    def lengths(self) -> np.ndarray:
        """Bytes of each token [V], int64; 0 for special tokens."""
        import numpy as np

        lengths = np.fromiter(map(len, self.pieces), dtype=np.int64, count=len(self.pieces))
        lengths[sorted(self.special)] = 0
        return lengths

    @cached_property
    def is_special(self) -> np.ndarray:
        """Bool [V]."""
        import numpy as np

        flags = np.zeros(len(self.pieces), dtype=bool)
        flags[sorted(self.special)] = True
        return flags

    @cached_property
    def ids(self) -> dict[bytes, int]:
        """The lowest id of each piece that stands for text."""
        found: dict[bytes, int] = {}
        for number, piece in enumerate(self.pieces):
            if piece and number not in self.special:
                found.setdefault(piece, number)
        return found

    @cached_property
    def special_ids(self) -> dict[bytes, int]:
        """Special tokens by name."""
        return {self.pieces[number]: number for number in sorted(self.special, reverse=True)}


def of_fast_tokenizer(tokenizer: Tokenizer, name: str) -> Vocabulary:
    """The vocabulary of a `tokenizers` tokenizer.

    Raises:
        ConfigError: it is neither byte-level nor of the sentencepiece kind, so that its bytes are not known.
    """
    added = tokenizer.get_added_tokens_decoder()
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    kinds = set(_kinds(tokenizer.decoder))
    if "ByteLevel" in kinds:
        to_bytes = _byte_level
    elif kinds & {"Metaspace", "ByteFallback"}:
        to_bytes = _sentencepiece
    else:
        raise ConfigError(
            f"{name}: its decoder is {sorted(kinds) or 'none'}; alignment knows byte-level tokenizers (GPT-2, Llama 3, "
            "Qwen) and sentencepiece ones with a metaspace or byte fallback (Llama 2, Gemma, Mistral)"
        )
    pieces = [b""] * (max(vocab.values(), default=-1) + 1)
    for piece, number in vocab.items():
        if number in added:
            text = added[number].content
            is_text = to_bytes is _sentencepiece and not added[number].special
            pieces[number] = (text.replace(WORD_START, " ") if is_text else text).encode()
        else:
            pieces[number] = to_bytes(piece)
    special = frozenset(number for number, token in added.items() if token.special)
    strips = frozenset(number for number, token in added.items() if token.lstrip or token.rstrip)
    prefix = b" " if _adds_space(tokenizer, pieces) else b""
    return Vocabulary(tuple(pieces), special, _canonical(tokenizer, to_bytes is _sentencepiece), strips, prefix)


def of_sentencepiece(processor: SentencePieceProcessor) -> Vocabulary:
    """The vocabulary of a sentencepiece model."""
    size = processor.vocab_size()
    special = [i for i in range(size) if processor.is_control(i) or processor.is_unknown(i)]
    pieces = [processor.id_to_piece(i) for i in range(size)]
    in_bytes = [p.encode() if i in set(special) else _sentencepiece(p) for i, p in enumerate(pieces)]
    spaced = in_bytes[processor.encode("x")[0]][:1] == b" "
    return Vocabulary(tuple(in_bytes), frozenset(special), _spaced, prefix=b" " if spaced else b"")


def _adds_space(tokenizer: Tokenizer, pieces: Sequence[bytes]) -> bool:
    ids = tokenizer.encode("x", add_special_tokens=False).ids
    return b"".join(pieces[number] for number in ids).startswith(b" ")


class _Part(Protocol):
    """A decoder or normalizer: it says what it is in JSON."""

    def __getstate__(self) -> bytes: ...


def _kinds(part: _Part | None) -> Iterable[str]:
    """Types of a decoder or normalizer and of the parts of a sequence of them."""
    if part is None:
        return []
    state = json.loads(part.__getstate__())
    inner = state.get("decoders") or state.get("normalizers") or []
    return [state["type"], *(one["type"] for one in inner)]


def _canonical(tokenizer: Tokenizer, reads_word_start: bool) -> Callable[[str], str]:
    """Normalizers that only mark spaces change no text; the mark itself is taken back."""
    normalizer = tokenizer.normalizer
    if set(_kinds(normalizer)) <= {"Replace", "Prepend", "Sequence"}:
        return _spaced if reads_word_start else str
    return lambda text: _spaced(normalizer.normalize_str(text)) if reads_word_start else normalizer.normalize_str(text)


def _spaced(text: str) -> str:
    return text.replace(WORD_START, " ")


def _sentencepiece(piece: str) -> bytes:
    if byte := BYTE_PIECE.fullmatch(piece):
        return bytes([int(byte[1], 16)])
    return piece.replace(WORD_START, " ").encode()


def _byte_level(piece: str) -> bytes:
    return bytes(_ALPHABET[char] for char in piece) if all(char in _ALPHABET for char in piece) else piece.encode()


def _gpt2_alphabet() -> dict[str, int]:
    """GPT-2's printable character for each byte: itself where it is printable, else the next one above 255."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


_ALPHABET = _gpt2_alphabet()
