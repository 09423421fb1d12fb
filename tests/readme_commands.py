"""The README's commands typed as they stand, where a quickstart has been run: CI does it after `make quickstart`.

What the quickstart gained is looked at first. Every command is here or in `ELSEWHERE`, which says what runs it instead:
those take a cluster, data, or many minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "fusion run experiment=quickstart prompts.per_task=80": "tests/end_to_end/test_readme_settings.py",
    "fusion run experiment=compare_cpu": "tests/end_to_end/test_run.py",
    "fusion compare quickstart wrpo_cpu infifpo_cpu fuserl_cpu pairwise_sce_cpu": "tests/end_to_end/test_run.py",
    "fusion run experiment=quickstart -m objective.beta=5,10,20": "tests/end_to_end/test_readme_settings.py",
    "fusion run experiment=quickstart train.sft.report_to=[tensorboard] train.preference.report_to=[tensorboard]": (
        "tests/end_to_end/test_readme_settings.py"
    ),
    "fusion run experiment=quickstart cluster.price.usd_per_hour=0.4 budget.max_usd=0.05": (
        "tests/end_to_end/test_budget.py"
    ),
    "fusion eval benchmark=[gsm8k,math500] target=smollm2_135m data=FOLDER": "tests/end_to_end/test_eval_pico.py",
    "fusion eval benchmark=[mt_bench] target=smollm2_135m data=FOLDER reward@benchmarks.mt_bench.reward=local_judge "
    "benchmarks.mt_bench.reward.model.uri=JUDGE": "tests/end_to_end/test_eval_judged.py",
    "fusion eval benchmark=[harness] target=smollm2_135m benchmarks.harness.data.task.name=gsm8k_cot_zeroshot": (
        "tests/end_to_end/test_eval_harness.py"
    ),
    "fusion agree data=FOLDER reward=[local_judge] rewards.local_judge.model.uri=JUDGE limit=200": (
        "tests/fusion/judging/test_agree.py"
    ),
    "fusion submit experiment=quickstart": "tests/end_to_end/test_submit.py",
    "fusion status quickstart --serve": "tests/fusion/watching/test_server.py",
}
ANSWER = {"prompt": "1 + 1?", "source": "a", "response": "2", "reference": "2", "domain": "math"}


def commands() -> list[str]:
    lines = (line.strip() for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("    "))
    return [line for line in lines if line.startswith("fusion ")]


LEAST_GAIN = 0.1
"""The README says 0.17; another machine rounds otherwise and samples other answers, which moves it by hundredths."""


def main() -> None:
    _look_at_the_gain()
    unknown = ELSEWHERE.keys() - set(commands())
    assert not unknown, f"not in the README any more: {unknown}"
    assert all((ROOT / test).exists() for test in ELSEWHERE.values())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _furnish(folder)
        for line in commands():
            if line in ELSEWHERE:
                print(f"elsewhere  {line}  ({ELSEWHERE[line]})")
                continue
            words = line.replace("KEY", _a_key(folder)).split()
            done = subprocess.run([sys.executable, "-m", *words], cwd=folder, capture_output=True, text=True)
            print(f"exit {done.returncode}     {line}", flush=True)
            if done.returncode:
                sys.exit(done.stdout[-2000:] + done.stderr[-4000:])


def _look_at_the_gain() -> None:
    result = json.loads((ROOT / "runs" / "quickstart" / "result.json").read_text())
    gain, gate = result["gain"], result["gate"]
    print(f"gain {gain['difference']:+.2f} [{gain['low']:+.2f}, {gain['high']:+.2f}]; {'; '.join(gate['reasons'])}")
    assert gain["difference"] >= LEAST_GAIN
    assert gain["low"] > 0
    assert gate["promoted"]


def _furnish(folder: Path) -> None:
    """What the commands name: the runs, a store, answers of one's own, a merge of two of its models, a text."""
    for name in ("runs", "store", "README.md"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "answers.jsonl").write_text(json.dumps(ANSWER) + "\n")
    merge = [f"  - {{model: runs/quickstart/models/{name}, parameters: {{weight: 1.0}}}}" for name in ("sft", "final")]
    (folder / "config.yml").write_text("\n".join(["merge_method: linear", "dtype: float32", "models:", *merge]) + "\n")


def _a_key(folder: Path) -> str:
    """Of a prompt of the quickstart, as `fusion show` prints it."""
    command = [sys.executable, "-m", "fusion", "show", "quickstart", "prompts", "--limit", "1", "--json"]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return str(json.loads(shown.stdout.splitlines()[0])["prompt_id"])


if __name__ == "__main__":
    main()
