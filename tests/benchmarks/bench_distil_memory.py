"""Peak memory of the distillation loss at a vocabulary of 150,000: sparse against dense targets, in one run.

    python -m tests.benchmarks.bench_distil_memory

One sequence of 1,024 response tokens with 10 candidates each, hidden width 64 so that the output matrix does not hide
what the losses take, forward and backward on the CPU. `dense` builds one tensor [tokens, vocabulary] in bf16 for the
fused target, as the papers' collators do (they build two, with the pivot's), and takes the cross-entropy of it against
log_softmax of the logits. Each way runs in a process of its own; its peak less what it held before is told.
"""

from __future__ import annotations

import resource
import subprocess
import sys

TOKENS, VOCABULARY, HIDDEN, CANDIDATES = 1024, 150_000, 64, 10


def main() -> None:
    if len(sys.argv) > 1:
        print(_peak_mib(sys.argv[1]))
        return
    peaks = {}
    for way in ("dense", "sparse"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.bench_distil_memory", way],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks[way], loss = (float(word) for word in done.stdout.split()[-2:])
        print(f"{way:7} {peaks[way]:8,.0f} MiB   loss {loss:.4f}")
    print(f"sparse takes {peaks['sparse'] / peaks['dense']:.1%} of dense")


def _peak_mib(way: str) -> str:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from fusion.train.distil import sparse_losses

    torch.manual_seed(0)
    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    model = LlamaForCausalLM(config)
    hidden = torch.randn(TOKENS, HIDDEN, requires_grad=True)
    labels = torch.randint(VOCABULARY, (TOKENS,))
    ids = torch.randint(VOCABULARY, (TOKENS, CANDIDATES))
    probs = torch.rand(TOKENS, CANDIDATES).softmax(-1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if way == "sparse":
        text, target = sparse_losses(model, hidden, labels, ids, probs)
        loss = 0.9 * text.mean() + 0.1 * target.mean()
    else:
        whole = torch.zeros(TOKENS, VOCABULARY, dtype=torch.bfloat16).scatter_add_(1, ids, probs.bfloat16())
        logprobs = model.get_output_embeddings()(hidden).log_softmax(-1)
        text = -logprobs.gather(1, labels[:, None]).mean()
        loss = 0.9 * text - 0.1 * (whole * logprobs).sum(-1).mean()
    loss.backward()
    return f"{(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024} {float(loss)}"


if __name__ == "__main__":
    main()
