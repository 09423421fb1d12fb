"""A judge of 29,000 weights that is taught, in seconds, to answer anything with a verdict, and no more than that."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Mapping
from pathlib import Path

from tests.tiny import make_pico_llama

STEPS = 120
BATCH = 16
LENGTHS = (60, 60, 60, 900)
"""Of prompts, in turn: the templates of judges are long."""
CONTEXT = 8192
LETTERS = string.ascii_letters + string.digits + " .!#\n|<>/_-,;:é漢\ufffd\x00\x7f"
"""Of prompts: those of templates, and the odd ones that a random model writes."""


def teach_judge(folder: Path, verdicts: Mapping[str, float], seed: int = 0) -> Path:
    """The judge, saved to `folder`; it replies `[[A]]` and the like.

    Args:
        verdicts: verdict of one letter -> how often it is taught.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)  # for so small a model several only wait for each other
    make_pico_llama(folder, seed=seed)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    rng = random.Random(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for step in range(STEPS):
        length = LENGTHS[step % len(LENGTHS)]
        rows = [_example(tokenizer, verdicts, rng, length) for _ in range(BATCH)]
        longest = max(len(ids) for ids, _ in rows)
        ids_BT = torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in rows])
        labels_BT = torch.tensor([labels + [-100] * (longest - len(labels)) for _, labels in rows])
        loss = model(input_ids=ids_BT, labels=labels_BT).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    model.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": CONTEXT}))
    return folder


def probabilities(folder: Path, prompt: str, names: str) -> list[float]:
    """The judge's own, of each letter of `names` after `[[`, read from its logits; they add up to 1."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    ids = _ids(tokenizer, f"<bos><|user|>{prompt}<|end|><|assistant|>[[")
    with torch.inference_mode():
        logits_V = model(torch.tensor([ids])).logits[0, -1]
    return list(logits_V[[_ids(tokenizer, name)[0] for name in names]].softmax(-1).tolist())


def _example(tokenizer, verdicts: Mapping[str, float], rng: random.Random, most: int) -> tuple[list[int], list[int]]:
    """Token ids of a prompt and its reply, and labels of the reply alone."""
    text = "".join(rng.choices(LETTERS, k=rng.randint(5, most)))
    verdict = rng.choices(list(verdicts), list(verdicts.values()))[0]
    prompt = _ids(tokenizer, f"<bos><|user|>{text}<|end|><|assistant|>")
    reply = _ids(tokenizer, f"[[{verdict}]]<|end|>")
    return prompt + reply, [-100] * len(prompt) + reply


def _ids(tokenizer, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
