"""The domain by regular expressions, English and Chinese.

FuseChat-3.0 keeps code and mathematics out of its instruction and Chinese prompts and does not say how it finds them
(arXiv 2503.04222, section 3.1). These rules lean towards finding too much: a general prompt lost costs less than a
mathematical one that is judged by style.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache

from fusion.errors import ConfigError
from fusion.prompts.taggers.base import Tagger

_MAKE = r"(?:write|creat|implement|develop|design|build|generat|debug|fix|refactor|optimi[sz]|complet|construct|cod)\w*"
_THING = (
    r"(?:functions?|programs?|scripts?|algorithms?|regex|regular expressions?|quer(?:y|ies)|code|snippets?|subroutine"
    r"|web ?pages?|websites?|classes|compiler|data structure)"
)
CODE = [
    r"```",
    r"\bdef \w+\(|#include\b|\bpublic (?:static|class)\b|\bconsole\.log\b|\bfunction \w*\(",
    r"\bimport (?:numpy|pandas|os)\b",
    r"\bselect\b[\s\S]{1,200}\bfrom\b[\s\S]{1,200}\b(?:where|join|group by|order by)\b|\bcreate table\b",
    r"</?(?:html|body|div|span|script|head|table|form)\b[^>]*>",
    rf"\b{_MAKE} (?:\S+ ){{0,7}}{_THING}\b",
    r"\b(?:python|javascript|typescript|java|kotlin|matlab|fortran|haskell|php|html|css|sql|mysql|bash|numpy"
    r"|pytorch|tensorflow|django|react|node\.js|jquery|json|xml|regex|leetcode|github|unix|linux)\b",
    r"(?<!\w)(?:c\+\+|c#|\.net)(?!\w)|\bin c\b",
    r"\b(?:source code|lines? of code|time complexity|linked list|binary (?:tree|search)|(?:an?|the) array)\b",
    r"\b(?:for|while) loop\b|\blist comprehension\b",
    r"\b(?:given|following|this|these) (?:list|array|string|code|dictionary)\b",
    r"(?m)^\s*[a-z_]\w* ?= ?(?:[\[{\"']|\d+$)|\bprintf?\s*\(",
    r"编程|代码|程序员|正则表达式|数据库|爬虫|脚本|前端|后端|时间复杂度|链表|二叉树",
    r"(?:编写|写|实现|设计|定义|创建|开发).{0,20}(?:函数|程序|算法|类(?!似|型|别))",
]
"""Case does not matter."""
MATH = [
    r"\\(?:frac|sqrt|sum|int|prod|cdot|times|leq?|geq?|begin|boxed|text|left|angle|overline|pi|theta|alpha|mathbb)\b",
    r"\$[^$\n]*[=^_\\<>+][^$\n]*\$",
    r"\d\s*[+*/×÷^]\s*\(?\d|\d\s+-\s+\d|\b\d*[xyz]\s*[-+=^]\s*\d|\b[a-z]\s*\^\s*\d|\bx²|=\s*\?",
    r"\d[\s\S]*\bhow (?:many|much|old|far|long|tall|high|fast|heavy|deep)\b|\bhow (?:many|much)\b[\s\S]*\d[\s\S]*\d",
    r"\d[\s\S]*\bwhat (?:is|was|are|were|will be)\b[^.?]*\b(?:total|average|percent\w*|ratio|number of|sum|cost|profit"
    r"|price|amount|original|probability|difference|product|remainder|area|perimeter|volume|speed|distance)\b",
    r"\b(?:solve|simplify|factor|differentiate|integrate|evaluate|find|compute|calculate|determine|prove)\b[^.?]*"
    r"(?:\d|\b(?:equation|expression|integral|derivative|polynomial|matrix|probability|perimeter|triangle|theorem|root)\b)",
    r"\d[\s\S]*\b(?:calculate|compute)\b",
    r"\b(?:equations?|polynomials?|derivatives? of|integrals? of|probability (?:of|that)|prime numbers?|pythagor\w+"
    r"|logarithms?|trigonometr\w+|calculus|algebra|arithmetic|geometry|hypotenuse|greatest common|least common multiple"
    r"|square root|standard deviation|permutations?|eigenvalues?)\b",
    r"\d.*(?:多少|几[个只条本元人天年次块张名棵页]|剩下|多[高长远重]|几分之几|百分之几|分成几)|(?:多少|几[个只条本元人天年次块张名棵页]).*\d.*\d",
    r"方程|概率|周长|三角形|平方根|立方|因式分解|微积分|导数|积分(?!兑|制)|数列|几何|代数|质数|素数|公约数|公倍数|数学题|勾股",
    r"(?:计算|求解|求出|解出|化简).*(?:\d|面积|体积|结果|值|平均)",
]


@dataclass(kw_only=True)
class Rules(Tagger):
    """The first domain one of whose expressions is found; none: the tagger cannot say."""

    patterns: dict[str, list[str]] = field(default_factory=lambda: {"code": list(CODE), "math": list(MATH)})
    """Domain -> expressions."""
    order: list[str] = field(default_factory=lambda: ["code", "math"])
    """Which domain is sought first: "write a function that adds" is code."""

    def __post_init__(self) -> None:
        if sorted(self.order) != sorted(self.patterns):
            raise ConfigError(f"tagger.order is {self.order}; name each of {sorted(self.patterns)} once")
        for domain, patterns in self.patterns.items():
            for pattern in patterns:
                try:
                    re.compile(pattern)
                except re.error as error:
                    raise ConfigError(f"tagger.patterns.{domain}: {pattern!r} is no expression: {error}") from error

    def domain_of(self, text: str, tag: str) -> str | None:
        for domain in self.order:
            if any(_compiled(pattern).search(text) for pattern in self.patterns[domain]):
                return domain
        return None


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)
