"""What the gates of a reward said, as the page shows it."""

from __future__ import annotations

import dataclasses

from fusion.report.build import build
from fusion.report.gates import gates
from fusion.schema import TRUST
from tests.fusion.report.sample_run import sealed

ROWS = [
    ("batching", True, 0.0004, 0.05, "of 32 answers one moved most"),
    ("known_answers", None, None, 1.0, "no score of it is recorded"),
    ("agreement", False, 0.41, 0.6, "a right answer is ranked above a wrong one with chance 0.410"),
]


def test_each_gate_is_shown_with_its_verdict_and_figures(record, tmp_path):
    names = ("gate", "passed", "measured", "limit", "detail")
    rows = [{"reward": "rm"} | dict(zip(names, row, strict=True)) for row in ROWS]
    weighed = dataclasses.replace(
        record, artifacts={**record.artifacts, "trust/rm": sealed(tmp_path / "rm", TRUST, rows, {})}
    )
    shown = {row["gate"]: (row["verdict"], row["measured"], row["limit"]) for row in gates(weighed)}
    assert shown == {
        "batching": ("passed", "0.0004", "0.05"),
        "known answers": ("not measured", "", "1"),
        "agreement": ("failed, overridden", "0.41", "0.6"),
    }
    page = build(weighed)
    assert 'id="trust"' in page
    assert ROWS[2][-1] in page
    assert 'id="trust"' not in build(record)
