"""How a model reads a response: its tokens, and the bytes of text that each covers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fusion.chat import Renderer
from fusion.errors import ConfigError
from fusion.explicit.distributions import response_spans
from fusion.explicit.spans import Spans
from fusion.explicit.vocabulary import Vocabulary, of_fast_tokenizer
from fusion.modelfiles import DEFAULT_CACHE, prepare
from fusion.models import ChatConfig, ModelRef


@dataclass(kw_only=True)
class ReadBy:
    """A model as far as its tokens go."""

    name: str
    model: ModelRef
    chat: ChatConfig
    cache: str = field(default=DEFAULT_CACHE, metadata={"identity": False})

    def open(self) -> Reader:
        """Raises:
        ConfigError: the model has no tokenizer whose bytes are known.
        """
        folder = prepare(self.model, Path(self.cache))
        renderer = Renderer.load(folder, self.chat, self.model.trust_remote_code)
        backend = getattr(renderer.tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ConfigError(f"{self.name}: its tokenizer is written in Python; only fast tokenizers can be aligned")
        return Reader(self.name, renderer, of_fast_tokenizer(backend, self.name))


@dataclass(frozen=True)
class Reader:
    """An opened tokenizer."""

    name: str
    renderer: Renderer
    vocabulary: Vocabulary

    def spans(self, text: str) -> Spans:
        """Tokens of a response, its end of turn last.

        Raises:
            SpanError: they do not spell the text.
        """
        import numpy as np

        return response_spans(text, np.asarray(self.renderer.response_ids(text)), self.vocabulary)
