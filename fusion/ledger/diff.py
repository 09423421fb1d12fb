"""`fusion diff RUN RUN`: settings, rows and scores that differ."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from fusion.fingerprint import differences
from fusion.run_folder import RunFolder


def diff(arguments: Sequence[str]) -> int:
    """Print the differences of two finished runs."""
    parser = argparse.ArgumentParser(prog="fusion diff", description="what differs between two runs")
    parser.add_argument("--runs", default="runs", help="folder of runs")
    parser.add_argument("old")
    parser.add_argument("new")
    options = parser.parse_args(arguments)
    from omegaconf import OmegaConf

    runs = [RunFolder.open(options.runs, name) for name in (options.old, options.new)]
    configs = [OmegaConf.to_container(OmegaConf.create(run.config_text)) for run in runs]
    results = [_comparable(run.result) for run in runs]
    for title, pair in (("settings", configs), ("results", results)):
        lines = differences(*pair)
        print(f"{title}: {'the same' if not lines else f'{len(lines)} differ'}")
        for line in lines:
            print(f"  {line}")
    return 0


def _comparable(result: Mapping[str, object]) -> dict[str, object]:
    """A result without what differs between any two runs."""
    steps: Sequence[Mapping[str, object]] = result["steps"]  # type: ignore[assignment]
    counts = {
        f"{s['kind']}/{s['label']}": {k: s[k] for k in ("rows_in", "rows_out", "dropped", "failed")} for s in steps
    }
    return {"steps": counts} | {key: result[key] for key in ("evaluation", "versions") if key in result}
