"""Credentials: keys and tokens whose form their issuers publish, so that few other strings look like them.

Own patterns: the library for this, detect-secrets, reads 0.03 MB/s, and its word lists and entropy limits fire on
ordinary answers. Passwords in prose and keys without a known form are not looked for.
"""

from __future__ import annotations

import math
import re
from collections import Counter

from fusion.hygiene.finding import Finding, Kind

MIN_ENTROPY_BITS = 3.0
"""Of a secret's characters, in bits each: random hexadecimal has 3.5 and more, "xxxx-your-key-xxxx" less than 3."""

_FORMS = [
    # name, a literal that it holds (to look for it fast), pattern
    ("private key", "PRIVATE KEY", r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----([\w+/=\\\s:,.-]{40,})"),
    ("AWS access key", "AKIA", r"AKIA[A-Z2-7]{16}(?![A-Za-z0-9])"),
    ("AWS access key", "ASIA", r"ASIA[A-Z2-7]{16}(?![A-Za-z0-9])"),
    ("GitHub token", "gh", r"gh[pousr]_[A-Za-z0-9]{36,}"),
    ("GitHub token", "github_pat_", r"github_pat_\w{40,}"),
    ("GitLab token", "glpat-", r"glpat-[\w-]{20,}"),
    ("Anthropic key", "sk-ant-", r"sk-ant-[\w-]{24,}"),
    ("OpenAI key", "sk-", r"sk-(?!ant-)(?:proj-|svcacct-)?[\w-]{32,}"),
    ("Stripe key", "k_live_", r"[sr]k_live_[A-Za-z0-9]{20,}"),
    ("Slack token", "xox", r"xox[abprs]-[\w-]{20,}"),
    ("Google key", "AIza", r"AIza[\w-]{35}(?![\w-])"),
    ("Hugging Face token", "hf_", r"hf_[A-Za-z0-9]{30,}"),
    ("npm token", "npm_", r"npm_[A-Za-z0-9]{36}(?![A-Za-z0-9])"),
    ("PyPI token", "pypi-AgEI", r"pypi-AgEI[\w-]{40,}"),
    ("SendGrid key", "SG.", r"SG\.[\w-]{20,24}\.[\w-]{40,46}"),
    ("JSON web token", "eyJ", r"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{20,}"),
    ("Azure storage key", "AccountKey=", r"AccountKey=[A-Za-z0-9+/]{86}=="),
]
_PATTERNS = [(name, literal, re.compile(pattern, re.ASCII)) for name, literal, pattern in _FORMS]
_PLACEHOLDER = re.compile(r"example|placeholder|your|xxxx|\*\*\*\*|\.\.\.|1234|abcd|secret|dummy|fake|sample", re.I)


def credentials(text: str) -> list[Finding]:
    """Credentials that could be real: placeholders ("sk-your-key", "AKIA...EXAMPLE") are not reported.

    Example detail: "GitHub token ghp_…, 40 characters"
    """
    found = []
    for name, literal, pattern in _PATTERNS:
        if literal not in text:
            continue
        for match in pattern.finditer(text):
            is_part_of_word = text[match.start() - 1 : match.start()].isalnum()
            if not is_part_of_word and not _is_placeholder(match[match.lastindex or 0]):
                detail = f"{name} {match[0][:4]}…, {len(match[0])} characters"
                found.append(Finding(Kind.SECRET, match.start(), match.end(), detail))
    return found


def _is_placeholder(secret: str) -> bool:
    counts = Counter(secret).values()
    entropy = -sum(count / len(secret) * math.log2(count / len(secret)) for count in counts)
    return entropy < MIN_ENTROPY_BITS or _PLACEHOLDER.search(secret) is not None
