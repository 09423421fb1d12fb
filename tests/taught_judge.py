"""A judge of 29,000 weights that is taught, in seconds, to give verdicts by the last letter of what it is shown."""

from __future__ import annotations

import random
import string
from pathlib import Path

from tests.tiny import make_pico_llama

VERDICTS = {".": (("A", 0.8), ("B", 0.2)), "!": (("A", 0.1), ("B", 0.9)), "#": (("7", 0.75), ("3", 0.25))}
"""Last letter of the prompt -> verdicts and how often each was taught."""
STEPS = 150
BATCH = 32


def teach_judge(folder: Path, seed: int = 0) -> Path:
    """The judge, saved to `folder`: it replies `[[A]]`, `[[B]]`, `[[7]]` or `[[3]]`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    make_pico_llama(folder, seed=seed)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    rng = random.Random(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = 1e-2 * (1 - step / STEPS)
        rows = [_example(tokenizer, rng) for _ in range(BATCH)]
        longest = max(len(ids) for ids, _ in rows)
        ids_BT = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows])
        labels_BT = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in rows])
        loss = model(input_ids=ids_BT, labels=labels_BT).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    return folder


def _example(tokenizer, rng: random.Random) -> tuple[list[int], list[int]]:
    """Token ids of a prompt and its reply, and labels of the reply alone."""
    last = rng.choice(sorted(VERDICTS))
    text = "".join(rng.choices(string.ascii_letters + " .!#\n|", k=rng.randint(10, 60))) + last
    names, shares = zip(*VERDICTS[last], strict=True)
    reply = f"[[{rng.choices(names, shares)[0]}]]<|end|>"
    prompt = tokenizer(f"<bos><|user|>{text}<|end|><|assistant|>", add_special_tokens=False)["input_ids"]
    answer = tokenizer(reply, add_special_tokens=False)["input_ids"]
    return prompt + answer, [-100] * len(prompt) + answer
