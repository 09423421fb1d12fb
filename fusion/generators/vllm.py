"""vLLM in this process, without a server or an event loop between: the engine is stepped by whoever holds it.

Each sample has a seed of its own, made from its key. vLLM's `n` gives sample i the seed `seed + i` and is otherwise n
separate requests inside the engine, so the samples of a prompt are submitted as such requests, one after another; the
prefix cache lets them share the prompt.

Not batch-invariant: in bfloat16 a sample's logits, and so now and then a token, depend on what else is in the batch.
Use `transformers` with dtype float32 and batch_size 1 where a rerun must give the same bytes.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fusion.errors import ConfigError, EngineError
from fusion.generators.base import TAIL_TOKENS, Completion, Generator, Request, Sample, Tail, too_long
from fusion.models import model_facts
from fusion.step import Placement

if TYPE_CHECKING:
    from vllm import CompletionOutput, EngineArgs, RequestOutput, SamplingParams
    from vllm.v1.engine.llm_engine import LLMEngine


CPU_BLOCK_TOKENS = 32
CPU_PREFILL_TOKENS = 2048


@dataclass(kw_only=True)
class Vllm(Generator):
    """vLLM. Example: `generator=vllm generator.dtype=bfloat16 generator.max_model_len=4096`."""

    dtype: str = "bfloat16"
    """Of weights and activations: bfloat16, float16, float32."""
    max_model_len: int = 0
    """Context in tokens, prompt and answer together; 0: the model's own. Shorter leaves more KV cache for the batch."""
    quantization: str | None = None
    """Weights quantised while loading (fp8, ...); null: as they are stored."""
    enforce_eager: bool = True
    """No compilation: starts in 5 s instead of 78 s on two cores, for 10% less speed; false suits long GPU runs."""
    logprobs: bool = False
    """Fill `logprob_sum`. Costs a log-softmax over the vocabulary: not measurable at 49,000 tokens of it."""
    trust_remote_code: bool = False
    """Run Python code that the model folder brings."""

    def __post_init__(self) -> None:
        if self.max_model_len < 0:
            raise ConfigError(f"generator.max_model_len must be at least 0, got {self.max_model_len}")

    @contextlib.contextmanager
    def open(self, model: Path, placement: Placement) -> Iterator[VllmEngine]:
        """Raises:
        EngineError: vLLM cannot load the model here.
        """
        # Set before vLLM is imported: it reads them once. In this process, so that no token crosses a socket.
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
        if not placement.gpus:
            _use_threads(max(1, int(placement.cpus)))
        try:
            from vllm.usage.usage_lib import UsageContext
            from vllm.v1.engine.llm_engine import LLMEngine

            core = LLMEngine.from_engine_args(self._arguments(model, placement), UsageContext.LLM_CLASS)
        except Exception as error:
            raise EngineError(f"vLLM cannot serve {model}: {type(error).__name__}: {error}") from error
        engine = VllmEngine(core, self.logprobs)
        try:
            yield engine
        finally:
            engine.close()

    def _arguments(self, model: Path, placement: Placement) -> EngineArgs:
        from vllm import EngineArgs

        common = EngineArgs(
            model=str(model),
            dtype=self.dtype,
            max_model_len=self.max_model_len or model_facts(model).max_model_len,
            quantization=self.quantization,
            enforce_eager=self.enforce_eager,
            trust_remote_code=self.trust_remote_code,
            tensor_parallel_size=placement.tensor_parallel,
            pipeline_parallel_size=placement.pipeline_parallel,
            max_num_seqs=placement.max_sequences,
            enable_prefix_caching=True,
            disable_log_stats=True,
            generation_config="vllm",  # sampling is ours alone; stop ids come with each request
        )
        if placement.gpus:
            common.gpu_memory_utilization = placement.gpu_memory_frac
        else:
            common.kv_cache_memory_bytes = int(placement.kv_cache_gib * 2**30)
            # With it, seeded requests crash the CPU sampler: "CPU Generator does not use offset" (vllm 0.32).
            common.enable_chunked_prefill = False
            # Small blocks and small prefill batches, so that later requests find the shared start of their prompts
            # computed: 4 examples and a question are 150 tokens, and a default block is 128 (2x with Gemma-3-270m).
            common.block_size = CPU_BLOCK_TOKENS
            common.max_num_batched_tokens = max(common.max_model_len, CPU_PREFILL_TOKENS)
        return common


class VllmEngine:
    """A loaded vLLM engine; used by one thread, the one that opened it."""

    def __init__(self, core: LLMEngine, logprobs: bool) -> None:
        self._core = core
        self._logprobs = logprobs
        self._open: dict[str, tuple[Request, dict[int, Sample | str]]] = {}
        self._refused: list[Completion] = []
        self.max_model_len = int(core.model_config.max_model_len)

    @property
    def num_unfinished(self) -> int:
        return len(self._open) + len(self._refused)

    def submit(self, request: Request) -> None:
        from vllm.inputs import tokens_input

        if refused := too_long(request, self.max_model_len):
            self._refused.append(refused)
            return
        self._open[request.request_id] = (request, {})
        prompt = tokens_input(list(request.prompt_token_ids))
        for number in range(len(request.sample_indices)):
            try:
                self._core.add_request(f"{request.request_id}#{number}", prompt, self._params(request, number))
            except ValueError as error:  # vLLM's word for a request it cannot serve
                self._settle(request.request_id, number, str(error))
            except Exception as error:
                raise EngineError(f"vLLM took no request: {type(error).__name__}: {error}") from error

    def step(self) -> list[Completion]:
        finished, self._refused = self._refused, []
        try:
            outputs = self._core.step() if self._core.has_unfinished_requests() else []
        except Exception as error:
            raise EngineError(f"vLLM died: {type(error).__name__}: {error}") from error
        for output in outputs:
            if output.finished:
                request_id, _, number = output.request_id.rpartition("#")
                self._settle(request_id, int(number), self._sample(output, request_id, int(number)))
        for request_id, (request, results) in list(self._open.items()):
            if len(results) == len(request.sample_indices):
                finished.append(_completion(request, results))
                del self._open[request_id]
        return finished

    def close(self) -> None:
        """Give the memory back."""
        self._core.engine_core.shutdown()
        del self._core
        gc.collect()

    def _params(self, request: Request, number: int) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        sampling = request.sampling
        return SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            repetition_penalty=sampling.repetition_penalty,
            max_tokens=min(sampling.max_new_tokens, self.max_model_len - len(request.prompt_token_ids)),
            seed=request.seeds[number] if sampling.temperature else None,
            stop=list(request.stop),
            stop_token_ids=list(request.stop_token_ids),
            logprobs=request.num_alternatives or (0 if self._logprobs else None),
            output_kind=RequestOutputKind.FINAL_ONLY,
        )

    def _settle(self, request_id: str, number: int, result: Sample | str) -> None:
        self._open[request_id][1][number] = result

    def _sample(self, output: RequestOutput, request_id: str, number: int) -> Sample | str:
        answer = output.outputs[0]
        if answer.finish_reason not in ("stop", "length"):
            return f"vLLM ended the request: {answer.finish_reason}"
        index = self._open[request_id][0].sample_indices[number]
        logprob_sum = answer.cumulative_logprob if self._logprobs else None
        tail = _tail(answer) if self._open[request_id][0].num_alternatives else ()
        return Sample(index, answer.text, len(answer.token_ids), answer.finish_reason, logprob_sum, tail)


def _tail(answer: CompletionOutput) -> Tail:
    """vLLM tells its alternatives before temperature and penalties, and the chosen token among them."""
    chosen = list(answer.token_ids)[-TAIL_TOKENS:]
    places = list(answer.logprobs or ())[-TAIL_TOKENS:]
    found = []
    for token, place in zip(chosen, places, strict=True):
        spelled: dict[str, float] = {}
        for one in place.values():
            name = one.decoded_token or ""
            spelled[name] = max(one.logprob, spelled.get(name, one.logprob))
        found.append((place[token].decoded_token or "", spelled))
    return tuple(found)


def _completion(request: Request, results: dict[int, Sample | str]) -> Completion:
    if errors := [results[number] for number in sorted(results) if isinstance(results[number], str)]:
        return Completion(request.request_id, (), str(errors[0]))
    samples = (results[number] for number in sorted(results))
    return Completion(request.request_id, tuple(sample for sample in samples if isinstance(sample, Sample)))


def _use_threads(count: int) -> None:
    """Let the CPU kernels use `count` OpenMP threads; without the variable vLLM goes down to one when it is loaded."""
    import torch

    os.environ["OMP_NUM_THREADS"] = str(count)
    torch.set_num_threads(count)
