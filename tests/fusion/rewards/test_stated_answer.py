"""How replies state their answers: in whole and in broken JSON, in boxes, tags and sentences."""

from __future__ import annotations

import json
import time

import pytest

from fusion.rewards.stated_answer import Form, Stated, opens_json, stated_answer

STATED = [
    # reply, form, text
    ('{"reasoning": "3 + 4 = 7", "answer": "7"}', Form.JSON, "7"),
    ('```json\n{\n    "reasoning": "3 + 4",\n    "answer": "7"\n}\n```</s></s>', Form.JSON, "7"),
    ('{"reasoning": "let {x}", "answer": 7}', Form.JSON, "7"),  # no quotes
    ('{"answer": [1, true, null]}', Form.JSON, "[1, True, None]"),  # as Python writes it
    ('{"answer": {"a": 1},\n "note": ""}', Form.JSON, "{'a': 1}"),
    ('{"reasoning": "a "quoted" word\nand a line", "answer": "7"\n}', Form.JSON, "7"),
    ('{"answer": "say "yes" or not", "sure": true}', Form.JSON, 'say "yes" or not'),
    ('{"answer": \\"7 \\"\n}', Form.JSON, "7 "),  # the quotes escaped
    ("{'reasoning': 'x', 'answer': '7'}", Form.JSON, "7"),
    ('{"reasoning": "x\n\nanswer": "7"\n}', Form.JSON, "7"),  # a quote forgotten
    ('{"answer": 7 apples}', Form.JSON, "7 apples"),
    ('{"answer": "answer": "7"}', Form.JSON, "7"),
    ('{"answer": "7', Form.JSON, "7"),  # never closed
    ('{"answer": "\\\\frac{1}{2}"}', Form.JSON, "\\frac{1}{2}"),
    ('{"answer": "\\(x\\)"}', Form.JSON, "\\(x\\)"),  # no JSON escape, so kept
    ('{"answer": "a\\nb \\u00e9"}', Form.JSON, "a\nb é"),
    ('{"answer": ""}', Form.JSON, ""),
    ('First {"answer": "5"}, no: {"answer": "6"}', Form.JSON, "6"),
    ('The box: \\boxed{5}\n{"answer": "6"}', Form.JSON, "6"),
    (r"so $\boxed{5}$, no, $\boxed{\frac{1}{2}}$", Form.BOXED, r"\frac{1}{2}"),
    (r"$x = \boxed{1}$ or $x = 2$", Form.BOXED, "1"),
    (r"\boxed{1}$ and $\boxed{2}", Form.BOXED, "1, 2"),
    (r"\boxed{1}, so \boxed{2}", Form.BOXED, "2"),
    ("<answer> 7 </answer>", Form.TAG, "7"),
    ("[ANSWER]\nf(1) == 7\n[/ANSWER]", Form.TAG, "f(1) == 7"),
    ("the answer is 5\n#### 7", Form.HASHES, "7"),
    ("The answer is 7. I hope so.", Form.STATEMENT, "7. I hope so."),
    ("**Answer:** 7", Form.STATEMENT, "7"),
    ("**Answer**: 7", Form.STATEMENT, "7"),
    ("所以答案是7。", Form.STATEMENT, "7。"),
]


@pytest.mark.parametrize(("reply", "form", "text"), STATED)
def test_stated_answer_is_found(reply: str, form: Form, text: str) -> None:
    assert stated_answer(reply) == Stated(form, text)


@pytest.mark.parametrize("reply", ["", "It is 7.", "\\boxed{7", "The answer is not 7.", '{"reasoning": "3 + 4 = 7"}'])
def test_reply_that_states_nothing_has_none(reply: str) -> None:
    assert stated_answer(reply) is None


@pytest.mark.parametrize("answer", ["7", 'a "b" c', "back\\slash", "tab\t", "née", "{'a': [1]}", "\\boxed{7}", " x "])
def test_every_whole_json_object_reads_as_json_does(answer: str) -> None:
    reply = json.dumps({"reasoning": 'the "answer" is near: {', "answer": answer}, indent=2)
    assert stated_answer(reply) == Stated(Form.JSON, answer)


def test_opened_object_is_known() -> None:
    assert opens_json('```json\n{\n "reasoning": "First,')
    assert not opens_json("{x | x > 2} is the set.")


LOOPS = [
    '"answer": "',
    "\\boxed{",
    "<answer>",
    "#### ",
    "answer is ",
    "\\boxed{1}, ",
    "{",
    '\\"answer\\": \\"',
    '"answer": {',
    "' ",
]


@pytest.mark.parametrize("piece", LOOPS)
def test_repetition_takes_time_in_proportion(piece: str) -> None:
    """Replies that loop to their token limit are common."""

    def seconds(times: int) -> float:
        started = time.process_time()
        stated_answer('{"answer": "' + piece * times)
        return time.process_time() - started

    assert seconds(20_000) < 1 + 40 * seconds(2_000)
