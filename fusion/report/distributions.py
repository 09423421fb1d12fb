"""How rewards and lengths are distributed, source by source on one axis."""

from __future__ import annotations

import numpy as np

from fusion.report.charts import mirrored_histogram
from fusion.report.number_text import count, percent
from fusion.report.palette import Palette
from fusion.report.samples import Floats, Samples


def rewards(samples: Samples | None, palette: Palette) -> list[dict[str, object]]:
    """A row of panels for each reward that gives numbers; split by verdict where there are verdicts."""
    if samples is None:
        return []
    found: list[dict[str, object]] = []
    for reward, values in samples.values.items():
        bounds = _bounds(values)
        panels = []
        for source in samples.sources:
            mine = samples.of(source) & np.isfinite(values)
            passed = mine & samples.passed if samples.has_verdicts else mine
            up, down = values[passed], values[mine & ~passed]
            chart = mirrored_histogram(
                up,
                down,
                bounds=bounds,
                colour=palette[source],
                names=("passed" if samples.has_verdicts else "all", "not passed"),
                label=f"{reward} of {source}",
            )
            panels.append({"source": source, "colour": palette[source], "chart": chart, "note": _note(up, down)})
        found.append({"reward": reward, "panels": panels})
    return found


def lengths(samples: Samples | None, palette: Palette) -> list[dict[str, object]]:
    """A panel a source: tokens of a response, those that ended above, those that were cut below; none for a source
    whose stored answers came without their number of tokens."""
    if samples is None or not np.isfinite(samples.num_tokens).any():
        return []
    bounds = (0.0, _bounds(samples.num_tokens)[1])
    panels: list[dict[str, object]] = []
    for source in samples.sources:
        mine = samples.of(source) & np.isfinite(samples.num_tokens)
        if not mine.any():
            continue
        tokens, cut = samples.num_tokens[mine], samples.is_cut[mine]
        chart = mirrored_histogram(
            tokens[~cut],
            tokens[cut],
            bounds=bounds,
            colour=palette[source],
            names=("ended", "cut"),
            label=f"tokens of {source}",
        )
        note = f"median {count(float(np.median(tokens)))} tokens, {percent(float(cut.mean()))} cut by the limit"
        panels.append({"source": source, "colour": palette[source], "chart": chart, "note": note})
    return panels


def _bounds(values: Floats) -> tuple[float, float]:
    """The range that holds all but the rarest values, so that one outlier does not flatten the rest."""
    finite = values[np.isfinite(values)]
    low, high = (float(bound) for bound in np.quantile(finite, [0.002, 0.998]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _note(passed: Floats, failed: Floats) -> str:
    """How many, and how often a passing answer has the higher reward over all pairs (ties count half)."""
    if not len(passed) or not len(failed):
        return f"{count(len(passed))} above, {count(len(failed))} below"
    order = np.sort(failed)
    below, up_to = np.searchsorted(order, passed, "left"), np.searchsorted(order, passed, "right")
    share = float((below + up_to).mean()) / (2 * len(failed))
    return (
        f"{count(len(passed))} above, {count(len(failed))} below; of a passing and another answer, "
        f"the passing one has the higher reward {percent(share)} of the time"
    )
