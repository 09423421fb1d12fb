"""Generation with transformers alone: machines without a vLLM wheel, and the batch-invariant mode.

Sequences are decoded in left-padded batches with a KV cache, one token a `step`. Each sample draws from a random
generator of its own (`model.generate` has one for the whole batch) in the order vLLM defines: repetition penalty,
temperature, top-k, top-p.

Batch-invariant: with `dtype=float32` and `batch_size=1` every sample is computed alone, so its bytes depend on its
prompt and seed only, whatever else is asked for, in which order, and how often the run was killed; of the number of
threads the last digit of `logprob_sum` depends. With larger batches padding changes the rounding, and so now and then a
token.
"""

from __future__ import annotations

import contextlib
import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import ConfigError, EngineError
from fusion.generators.base import TAIL_TOKENS, Completion, Generator, Request, Sample, Sampling, too_long
from fusion.models import model_facts
from fusion.step import Placement

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DTYPES = ("bfloat16", "float16", "float32")


@dataclass(kw_only=True)
class Transformers(Generator):
    """transformers. Example: `generator=transformers generator.batch_size=1` gives the same bytes in any order."""

    dtype: str = "float32"
    """Of weights and activations: bfloat16, float16, float32."""
    max_model_len: int = 0
    """Context in tokens, prompt and answer together; 0: the model's own."""
    batch_size: int = 16
    """Sequences decoded together. Here it bears identity: it changes rounding."""
    trust_remote_code: bool = False
    """Run Python code that the model folder brings."""

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ConfigError(f"generator.dtype must be one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if self.batch_size < 1:
            raise ConfigError(f"generator.batch_size must be at least 1, got {self.batch_size}")
        if self.max_model_len < 0:
            raise ConfigError(f"generator.max_model_len must be at least 0, got {self.max_model_len}")

    @contextlib.contextmanager
    def open(self, model: Path, placement: Placement) -> Iterator[TransformersEngine]:
        """Raises:
        EngineError: the model cannot be loaded here.
        """
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(max(1, int(placement.cpus)))
        device = "cuda" if placement.gpus else "cpu"
        remote = self.trust_remote_code
        try:
            tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=remote)
            loaded = AutoModelForCausalLM.from_pretrained(
                model, dtype=getattr(torch, self.dtype), trust_remote_code=remote
            )
        except Exception as error:
            raise EngineError(f"transformers cannot load {model}: {type(error).__name__}: {error}") from error
        max_model_len = self.max_model_len or model_facts(model).max_model_len
        yield TransformersEngine(loaded.to(device).eval(), tokenizer, max_model_len, self.batch_size)
        del loaded
        gc.collect()


@dataclass
class _Sequence:
    """One sample being decoded."""

    request: Request
    number: int
    limit: int
    generator: torch.Generator | None
    ids: list[int] = field(default_factory=list)
    logprob_sum: float = 0.0
    tail: deque[dict[int, float]] = field(default_factory=lambda: deque(maxlen=TAIL_TOKENS))
    """Log-probabilities of the likeliest tokens at the last places, the chosen one first."""


class TransformersEngine:
    """A loaded model; used by one thread."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, max_model_len: int, batch_size: int
    ) -> None:
        self.max_model_len = max_model_len
        self._model = model
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._waiting: deque[_Sequence] = deque()
        self._batch: _Batch | None = None
        self._open: dict[str, tuple[Request, dict[int, Sample]]] = {}
        self._refused: list[Completion] = []

    @property
    def num_unfinished(self) -> int:
        return len(self._open) + len(self._refused)

    def submit(self, request: Request) -> None:
        if refused := too_long(request, self.max_model_len):
            self._refused.append(refused)
            return
        self._open[request.request_id] = (request, {})
        limit = min(request.sampling.max_new_tokens, self.max_model_len - len(request.prompt_token_ids))
        for number, seed in enumerate(request.seeds):
            self._waiting.append(_Sequence(request, number, limit, self._generator(request.sampling, seed)))

    def step(self) -> list[Completion]:
        """One token for every sequence of the batch; a new batch when the last one has ended."""
        finished, self._refused = self._refused, []
        if self._batch is None and self._waiting:
            size = min(self._batch_size, len(self._waiting))
            self._batch = _Batch(self._model, [self._waiting.popleft() for _ in range(size)])
        if self._batch is None:
            return finished
        try:
            for sequence, sample in self._batch.decode(self._finish):
                request, samples = self._open[sequence.request.request_id]
                samples[sequence.number] = sample
                if len(samples) == len(request.sample_indices):
                    ordered = tuple(samples[number] for number in sorted(samples))
                    finished.append(Completion(request.request_id, ordered))
                    del self._open[request.request_id]
        except RuntimeError as error:  # torch's word for out of memory and the like
            raise EngineError(f"transformers died: {error}") from error
        if not self._batch.sequences:
            self._batch = None
        return finished

    def _generator(self, sampling: Sampling, seed: int) -> torch.Generator | None:
        import torch

        return torch.Generator(self._model.device).manual_seed(seed) if sampling.temperature else None

    def _finish(self, sequence: _Sequence) -> Sample | None:
        """The sample if its last token ends it, else None."""
        request = sequence.request
        is_stopped = sequence.ids[-1] in request.stop_token_ids
        text = ""
        if is_stopped or request.stop or len(sequence.ids) >= sequence.limit:
            kept = sequence.ids[:-1] if is_stopped else sequence.ids
            text = self._tokenizer.decode(kept, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        if not is_stopped and (cut := min((text.find(stop) for stop in request.stop if stop in text), default=-1)) >= 0:
            is_stopped, text = True, text[:cut]
        if not is_stopped and len(sequence.ids) < sequence.limit:
            return None
        reason = "stop" if is_stopped else "length"
        index = request.sample_indices[sequence.number]
        tail = tuple(self._spelled(place) for place in sequence.tail)
        return Sample(index, text, len(sequence.ids), reason, sequence.logprob_sum, tail)

    def _spelled(self, place: dict[int, float]) -> tuple[str, dict[str, float]]:
        """A place of the tail; of ids that are spelled alike the likelier one counts."""
        spelled: dict[str, float] = {}
        for token, logprob in place.items():
            name = self._tokenizer.decode([token])
            spelled[name] = max(logprob, spelled.get(name, logprob))
        return next(iter(spelled)), spelled


class _Batch:
    """Left-padded sequences with their KV cache; sequences that end leave it."""

    def __init__(self, model: PreTrainedModel, sequences: list[_Sequence]) -> None:
        import torch
        from transformers import DynamicCache

        self.sequences = sequences
        self._model = model
        self._cache = DynamicCache(config=model.config)
        prompts = [sequence.request.prompt_token_ids for sequence in sequences]
        longest = max(len(prompt) for prompt in prompts)
        pads = [longest - len(prompt) for prompt in prompts]
        rows = [[0] * pad + list(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        masks = [[0] * pad + [1] * len(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        self._next_BT = torch.tensor(rows, device=model.device)
        self._mask_BT = torch.tensor(masks, device=model.device)

    def decode(self, finish: Callable[[_Sequence], Sample | None]) -> Iterator[tuple[_Sequence, Sample]]:
        """One forward pass, one token a sequence; yields and removes those that `finish` says have ended."""
        import torch

        position_BT = (self._mask_BT.cumsum(-1) - 1).clamp(min=0)[:, -self._next_BT.shape[1] :]
        with torch.inference_mode():
            output = self._model(
                input_ids=self._next_BT,
                attention_mask=self._mask_BT,
                position_ids=position_BT,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
            logits_BV = output.logits[:, -1].float()
            tokens = [next_token(logits_BV[row], sequence) for row, sequence in enumerate(self.sequences)]
        keep: list[int] = []
        for row, (sequence, (token, logprob)) in enumerate(zip(self.sequences, tokens, strict=True)):
            sequence.ids.append(token)
            sequence.logprob_sum += logprob
            if sequence.request.num_alternatives:
                sequence.tail.append(_likeliest(logits_BV[row], token, sequence.request.num_alternatives))
            if (sample := finish(sequence)) is None:
                keep.append(row)
            else:
                yield sequence, sample
        self._shrink(keep)

    def _shrink(self, keep: Sequence[int]) -> None:
        import torch

        if len(keep) < len(self.sequences):
            self.sequences = [self.sequences[row] for row in keep]
            if not keep:
                return
            rows = torch.tensor(keep, device=self._mask_BT.device)
            self._cache.batch_select_indices(rows)
            self._mask_BT = self._mask_BT[rows]
        self._next_BT = torch.tensor([[sequence.ids[-1]] for sequence in self.sequences], device=self._mask_BT.device)
        self._mask_BT = torch.nn.functional.pad(self._mask_BT, (0, 1), value=1)


def next_token(logits_V: torch.Tensor, sequence: _Sequence) -> tuple[int, float]:
    """The next token and its log-probability in nats at temperature 1.

    Args:
        logits_V: float32 [V].
    """
    import torch

    sampling = sequence.request.sampling
    logprobs_V = logits_V.log_softmax(-1)
    if sampling.repetition_penalty != 1.0:
        seen = torch.tensor(sorted({*sequence.request.prompt_token_ids, *sequence.ids}), device=logits_V.device)
        values = logits_V[seen]
        scaled = torch.where(values > 0, values / sampling.repetition_penalty, values * sampling.repetition_penalty)
        logits_V = logits_V.index_put((seen,), scaled)
    if sequence.generator is None:
        token = int(logits_V.argmax())
    else:
        probs_V = restrict(logits_V / sampling.temperature, sampling.top_k, sampling.top_p).softmax(-1)
        noise_V = torch.empty_like(probs_V).exponential_(generator=sequence.generator)
        token = int((probs_V / noise_V).argmax())
    return token, float(logprobs_V[token])


def _likeliest(logits_V: torch.Tensor, chosen: int, num: int) -> dict[int, float]:
    """Token -> log-probability at temperature 1: the chosen one first, then the `num` likeliest."""
    logprobs_V = logits_V.log_softmax(-1)
    best = logprobs_V.topk(min(num, logprobs_V.shape[-1]))
    found = dict(zip(best.indices.tolist(), best.values.tolist(), strict=True))
    return {chosen: float(logprobs_V[chosen])} | found


def restrict(logits_V: torch.Tensor, top_k: int, top_p: float) -> torch.Tensor:
    """Logits with all but the `top_k` largest, then all outside the `top_p` nucleus, at minus infinity.

    The nucleus is the smallest set of most likely tokens whose probability reaches `top_p`; at least one stays.
    """
    if 0 < top_k < logits_V.shape[-1]:
        threshold = logits_V.topk(top_k).values[-1]
        logits_V = logits_V.masked_fill(logits_V < threshold, float("-inf"))
    if top_p < 1.0:
        ascending_V, order_V = logits_V.sort()
        outside_V = ascending_V.softmax(-1).cumsum(-1) <= 1 - top_p
        outside_V[-1] = False
        logits_V = logits_V.index_fill(0, order_V[outside_V], float("-inf"))
    return logits_V
