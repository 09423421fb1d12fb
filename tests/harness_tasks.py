"""Tasks of lm-evaluation-harness in a folder of one's own, over a file that is made there; no network is needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

SUMS = """\
task: toy_sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/test.jsonl, train: {folder}/train.jsonl}}}}
test_split: test
training_split: train
output_type: generate_until
doc_to_text: "Q: {{{{question}}}}\\nA:"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: ["\\n\\n", "Q:"], do_sample: true, temperature: 0.5, max_gen_toks: 24}}
filter_list:
  - name: strict
    filter: [{{function: regex, regex_pattern: "answer is (\\\\d+)"}}, {{function: take_first}}]
  - name: last
    filter: [{{function: regex, regex_pattern: "(\\\\d+)", group_select: -1}}, {{function: take_first}}]
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
num_fewshot: 0
metadata: {{version: 2.0}}
"""
CHOICE = """\
task: toy_choice
dataset_path: json
dataset_kwargs: {{data_files: {{test: {folder}/test.jsonl, train: {folder}/train.jsonl}}}}
test_split: test
training_split: train
output_type: multiple_choice
doc_to_text: "Q: {{{{question}}}}\\nA:"
doc_to_choice: "{{{{[answer, '12', 'rather many']}}}}"
doc_to_target: 0
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
num_fewshot: 0
metadata: {{version: 1.0}}
"""
COMPARED = {
    "choice.yaml": CHOICE,
    "choice_shots.yaml": 'include: choice.yaml\ntask: toy_choice_shots\nnum_fewshot: 2\ndescription: "Add.\\n\\n"\n',
    "choice_long.yaml": "include: choice.yaml\ntask: toy_choice_long\nnum_fewshot: 8\nfewshot_split: train\n",
    "choice_spaced.yaml": 'include: choice.yaml\ntask: toy_choice_spaced\ntarget_delimiter: ""\n'
    'doc_to_text: "Q: {{{{question}}}}\\nA: "\n',
    "choice_alone.yaml": 'include: choice.yaml\ntask: toy_choice_alone\ntarget_delimiter: ""\ndoc_to_text: ""\n',
    "choice_inputs.yaml": "include: choice.yaml\ntask: toy_choice_inputs\ndoc_to_text: 1\ndoc_to_target: is the sum\n",
    "choice_begun.yaml": 'include: choice.yaml\ntask: toy_choice_begun\ngen_prefix: "So it is"\n',
    "word.yaml": "include: choice.yaml\ntask: toy_word\noutput_type: loglikelihood\ndoc_to_choice: null\n"
    'doc_to_target: " {{{{answer}}}}"\nmetric_list:\n'
    "  - {{metric: perplexity, aggregation: perplexity, higher_is_better: false}}\n"
    "  - {{metric: acc, aggregation: mean, higher_is_better: true}}\n",
}
"""Tasks that give continuations to compare."""
FILES = COMPARED | {
    "sums.yaml": SUMS,
    "shots.yaml": "include: sums.yaml\ntask: toy_shots\nnum_fewshot: 2\ndescription: Add.\nfewshot_split: test\n"
    "generation_kwargs: {{until: [\"Q:\"], do_sample: false, temperature: 0.9, max_gen_toks: 48}}\n",
    "free.yaml": "include: sums.yaml\ntask: toy_free\nnum_fewshot: null\n",
    "python.yaml": "include: sums.yaml\ntask: toy_python\nprocess_results: !function scoring.closeness\nmetric_list:\n"
    "  - {{metric: gap, aggregation: mean, higher_is_better: false}}\n"
    "  - {{metric: closeness, aggregation: mean, higher_is_better: true}}\n",
    "scoring.py": "import signal\n\n\ndef closeness(doc, results):\n    signal.signal(signal.SIGALRM, signal.SIG_DFL)\n"
    "    gap = abs(int(doc['answer']) - int(results[0]))\n    return {{'gap': gap, 'closeness': 1 / (1 + gap)}}\n",
    "bleu.yaml": "include: sums.yaml\ntask: toy_bleu\nmetric_list: [{{metric: bleu}}]\n",
    "rolling.yaml": "include: sums.yaml\ntask: toy_rolling\noutput_type: loglikelihood_rolling\n",
    "repeats.yaml": "include: sums.yaml\ntask: toy_repeats\nrepeats: 3\n",
    "prefix.yaml": "include: sums.yaml\ntask: toy_prefix\ngen_prefix: So\n",
    "unsafe.yaml": "include: sums.yaml\ntask: toy_unsafe\nunsafe_code: true\n",
    "group.yaml": "group: toy_group\ntask: [toy_sums, {{group: inner, task: [toy_free]}}]\n",
    "choices.yaml": "group: toy_choices\ntask: [toy_choice, toy_word]\n",
    "mixed.yaml": "group: toy_mixed\ntask: [toy_sums, toy_choice]\n",
    "unlike.yaml": "group: toy_unlike\ntask: [toy_sums, toy_shots]\n",
}  # fmt: skip


def make_tasks(folder: Path, num_items: int = 8) -> Path:
    """A folder for `include_path`; answers to item i are 2i + 1. Skips where the library is not installed."""
    pytest.importorskip("lm_eval", reason="lm-eval, an optional library, is not installed")
    write_items(folder / "test.jsonl", num_items)
    write_items(folder / "train.jsonl", num_items, start=100)
    for name, text in FILES.items():
        (folder / name).write_text(text.format(folder=folder))
    return folder


def write_items(path: Path, num_items: int, start: int = 0) -> None:
    rows = [item(number) for number in range(start, start + num_items)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def item(number: int) -> Mapping[str, str]:
    return {"question": f"What is {number} plus {number + 1}?", "answer": str(2 * number + 1)}
