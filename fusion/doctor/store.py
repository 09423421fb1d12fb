"""Whether a store does what runs ask of it: `fusion doctor` writes there, under a name of its own, and removes it."""

from __future__ import annotations

import uuid
from importlib.util import find_spec
from pathlib import Path

from fusion import lease, location
from fusion.doctor.finding import Finding, judged
from fusion.doctor.within import within
from fusion.errors import ArtifactError
from fusion.object_store import PINS

LIMIT_S = 20.0
KEYS = {
    "s3": "aws sts get-caller-identity   # and AWS_ENDPOINT_URL where the store is not Amazon's",
    "gs": "gcloud auth application-default login",
}
"""How one looks after one's keys, by scheme."""


def store(path: str) -> Finding:
    """Files are put, raced for, listed, locked and removed."""
    place = location.join(str(there(path)) if location.is_local(path) else path, f".doctor-{uuid.uuid4().hex[:8]}")
    try:
        within(LIMIT_S, lambda: _use(place))
    except Exception as error:  # whatever a store's client raises: the store is not fit, and why is told
        found, _, remedy = (str(error).splitlines() or [""])[0].partition("; type: ")
        remedy = remedy or KEYS.get(path.partition("://")[0], "set store.path=FOLDER where you may write")
        return judged("store", f"{path}: {type(error).__name__}: {found}", failure=remedy)
    return judged("store", f"{path} can be written, listed and locked")


def there(path: str) -> Path:
    """`path`, or the folder above it in which it would be made."""
    whole = location.local_path(path).expanduser().absolute()
    return next(one for one in (whole, *whole.parents) if one.exists())


def object_stores() -> Finding:
    """Which schemes can be used; a note only."""
    told = [
        f"{scheme}://" if find_spec(pin.partition("==")[0]) else f"{scheme}:// after pip install {pin}"
        for scheme, pin in PINS.items()
    ]
    return judged("stores", ", ".join(["disk", *told]))


def _use(place: str) -> None:
    first, second = location.join(place, "first"), location.join(place, "second")
    try:
        location.put(first, b"1")
        if not location.put_new(second, b"1") or location.put_new(second, b"2"):
            raise ArtifactError("a name that is taken is given again: two runs would hold one lease")
        if (found := location.names(place)) != ["first", "second"] or location.get(second) != b"1":
            raise ArtifactError(f"what was written a moment ago is not there; a listing says {found}")
        with lease.hold(place, lambda: False, _nobody_waits):
            pass
    finally:
        location.remove(place)


def _nobody_waits(line: str) -> None:
    """The folder was made a moment ago."""
