"""Names of models and of their makers, as they stand in "I am ..." and "... trained by ...".

Case counts: "llama" is an animal. A version may follow a name ("Qwen2.5", "GPT-4o").
"""

from __future__ import annotations

MODELS = (
    "Qwen", "QwQ", "Tongyi Qianwen", "通义千问", "ChatGPT", "GPT", "InstructGPT", "Claude", "Gemini", "Gemma", "Bard",
    "LaMDA", "PaLM", "Llama", "LLaMA", "Mistral", "Mixtral", "DeepSeek", "深度求索", "ChatGLM", "GLM", "智谱清言", "Yi",
    "Baichuan", "百川大模型", "InternLM", "ERNIE", "Ernie Bot", "文心一言", "Kimi", "Doubao", "豆包", "MiniMax",
    "Hunyuan", "混元", "Command R", "Command-R", "Aya", "Phi", "Copilot", "Grok", "Falcon", "Vicuna", "Alpaca", "Koala",
    "Guanaco", "WizardLM", "Zephyr", "OpenChat", "Open Assistant", "OpenAssistant", "OpenHermes", "Hermes", "Tülu",
    "Tulu", "OLMo", "Nemotron", "Granite", "SmolLM", "Exaone", "EXAONE", "Starling", "Dolly", "StableLM", "LearnLM",
)  # fmt: skip
MAKERS = (
    "OpenAI", "Open AI", "Anthropic", "Google", "DeepMind", "Meta", "Mistral AI", "Alibaba", "Tongyi Lab", "阿里",
    "DeepSeek", "深度求索", "智谱", "Zhipu", "Z.ai", "清华", "Tsinghua", "01.AI", "零一万物", "百川智能",
    "上海人工智能实验室", "Shanghai AI Lab", "百度", "Baidu", "Moonshot", "月之暗面",
    "ByteDance", "字节跳动", "腾讯", "Tencent", "Cohere",
    "Microsoft", "xAI", "TII", "Technology Innovation Institute", "LMSYS", "Large Model Systems Organization",
    "Stanford", "LAION", "Hugging Face", "Allen Institute", "Ai2", "AI2", "NVIDIA", "Nvidia", "IBM", "LG AI Research",
    "Stability AI", "Databricks", "Nous Research", "Upstage", "Inflection",
)  # fmt: skip
AMBIGUOUS = frozenset(
    {
        "Alpaca", "Aya", "Bard", "Dolly", "Falcon", "Granite", "Guanaco", "Hermes", "Kimi", "Koala", "Phi", "Starling",
        "Yi", "Zephyr",
    }
)  # fmt: skip
"""Models whose names people and characters of stories bear too: "I am Hermes" says little, "I am Hermes, an AI" all."""
