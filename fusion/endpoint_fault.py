"""What goes wrong between an endpoint and its client, sorted by what can be done about it."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from openai import APIConnectionError


class RequestFailed(Exception):  # noqa: N818 (an outcome of a request, not a fault of ours)
    """The endpoint serves others, but not this request."""

    def __init__(self, message: str, is_timeout: bool = False) -> None:
        super().__init__(message)
        self.is_timeout = is_timeout


class Refused(Exception):  # noqa: N818
    """The server says that it will not serve this request, ever."""


class Fault(Exception):  # noqa: N818
    """An attempt failed in a way that may pass."""

    def __init__(
        self,
        message: str,
        asked_pause_s: float | None = None,
        is_everybodys: bool = False,
        is_timeout: bool = False,
        may_be_billed: bool = False,
    ) -> None:
        super().__init__(message)
        self.asked_pause_s = asked_pause_s  # what Retry-After says
        self.is_everybodys = is_everybodys  # nobody listens, or the rate is limited
        self.is_timeout = is_timeout
        self.may_be_billed = may_be_billed  # the server may have done the work


def lost_connection(error: APIConnectionError) -> Fault:
    """The fault behind the library's error, by the transport's exception that caused it."""
    import openai

    cause = error.__cause__
    kind = type(cause).__name__
    if isinstance(error, openai.APITimeoutError) and kind != "ConnectTimeout":
        return Fault("no answer within endpoint.timeout_s", is_timeout=True, may_be_billed=True)
    nobody_listens = kind in ("ConnectError", "ConnectTimeout")
    return Fault(f"{kind}: {cause}", is_everybodys=nobody_listens, may_be_billed=not nobody_listens)


def retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds a number of seconds or a date; None: it says nothing usable."""
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
