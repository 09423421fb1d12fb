"""Whether the model hub answers `fusion doctor`."""

from __future__ import annotations

import urllib.error
import urllib.request
from contextlib import suppress

from fusion.doctor.finding import Finding, judged
from fusion.doctor.within import within

WAIT_S = 2.0


def hub() -> Finding:
    from huggingface_hub import constants

    return reached(constants.ENDPOINT, constants.HF_HUB_OFFLINE, constants.HF_HUB_CACHE)


def reached(endpoint: str, is_offline: bool, cache: str) -> Finding:
    """A warning where it is not: models on a disk and in the cache do without."""
    left = f"only models on a disk or in {cache} can be used"
    if is_offline:
        return judged(
            "hub", f"HF_HUB_OFFLINE is set: {left}", advice="unset HF_HUB_OFFLINE   # where there is a network"
        )
    try:
        within(WAIT_S, lambda: _ask(endpoint))
    except (OSError, ValueError) as error:
        remedy = "export HF_ENDPOINT=URL of a mirror, or give models as folders: sources.NAME.model.uri=/FOLDER"
        return judged("hub", f"{endpoint} does not answer ({error}): {left}", advice=remedy)
    return judged("hub", f"{endpoint} answers")


def _ask(endpoint: str) -> None:
    with suppress(urllib.error.HTTPError):  # whatever it says, it is there
        urllib.request.urlopen(f"{endpoint}/api/models?limit=1", timeout=WAIT_S).close()  # noqa: S310 http(s)
