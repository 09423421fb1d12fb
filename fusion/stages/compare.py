"""Compare: what was gained over what, paired by prompt. Same config and inputs as `fusion.stages.evaluate`."""

from __future__ import annotations

from collections.abc import Sequence

from fusion.evaluation.compare import comparison_rows, pairs_to_compare
from fusion.runtime import Runtime
from fusion.stages.evaluate import commit, model_scores
from fusion.work import Work


def run(works: Sequence[Work], runtime: Runtime) -> None:
    """COMPARISON: final minus base, sft minus base, final minus sft, final minus each source."""
    for work in works:
        scores = model_scores(work)
        pairs = pairs_to_compare(list(scores))
        commit(work, [row for m, against in pairs for row in comparison_rows(m, against, scores[m], scores[against])])
