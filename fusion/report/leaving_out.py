"""What would be lost without each source: the selection done again from the stored answers (see `fusion.ablation`)."""

from __future__ import annotations

from collections.abc import Sequence

from fusion.ablation import ALL, NOTHING, Remains, leave_one_out
from fusion.errors import FusionError
from fusion.report.number_text import count, percent
from fusion.report.palette import Palette
from fusion.report.record import RunRecord
from fusion.selecting import Selecting


def leaving_out(record: RunRecord, palette: Palette) -> dict[str, object] | None:
    """Context of the section; None: nothing was selected, or by one source alone."""
    try:
        selecting = Selecting.of(record.artifacts)
    except FusionError as error:
        return {"rows": [], "why_not": str(error)}
    if selecting is None or len(selecting.config.sources) < 2:
        return None
    config = selecting.config
    found = leave_one_out(selecting.frame, selecting.prompts, config.selection, config.sources)
    whole = {one.domain: one for one in found if one.without == NOTHING}
    domains = [domain for domain in whole if domain != ALL]
    shown = [ALL, *domains] if len(domains) > 1 else [ALL]
    return {
        "rows": [_row(one, whole[ALL], palette) for one in found if one.without != NOTHING and one.domain == ALL],
        "whole": _counts(whole[ALL]),
        "sentence": sentence(found),
        "domains": [
            {
                "domain": domain,
                "whole": _counts(whole[domain]),
                "rows": [_row(one, whole[domain], palette) for one in found if one.without and one.domain == domain],
            }
            for domain in shown[1:]
        ],
        "why_not": "",
    }


def sentence(found: Sequence[Remains]) -> str:
    """Who is missed most, and who not at all."""
    rest = [one for one in found if one.without != NOTHING and one.domain == ALL]
    most = max(rest, key=lambda one: (one.lost, one.moved))
    free = [one.without for one in rest if not one.lost and not one.moved]
    said = f"Without {most.without} {percent(most.lost)} of the prompts that train would be lost"
    if not most.lost:
        said = "No source is the only one with a usable answer: without any one of them every prompt still trains"
    if free:
        said += f"; {', '.join(free)} could be left out and nothing would change"
    return said + "."


def _counts(one: Remains) -> dict[str, str]:
    return {"sft": count(one.sft), "pairs": count(one.pairs), "prompts": count(one.prompts)}


def _row(one: Remains, whole: Remains, palette: Palette) -> dict[str, object]:
    return {
        "source": one.without,
        "colour": palette[one.without],
        **_counts(one),
        "sft_change": _change(one.sft - whole.sft),
        "pairs_change": _change(one.pairs - whole.pairs),
        "lost": percent(one.lost),
        "bar": f"{100 * one.lost:.2f}",
        "moved": count(one.moved),
    }


def _change(rows: int) -> str:
    """`−12`, `+3`, or nothing; a prompt without a pair any more may train SFT instead."""
    return f"{'+' if rows > 0 else '−'}{abs(rows):,}" if rows else ""
