"""The head of a cluster: where its job server is, and whether it lets anybody in."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from fusion.errors import ConfigError

DEFAULT = "http://127.0.0.1:8265"
PROBE_S = 10.0
ANY = "*"
ENVIRONMENT = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
"""Where `ray job` looks for the address, in this order."""


@dataclass(frozen=True, slots=True)
class Head:
    """A job server that answered."""

    url: str
    is_open: bool
    """Whether it answers those who show no token: it runs whatever anybody sends it."""
    ray_version: str
    """Empty where it tells only those who show a token."""

    @property
    def name(self) -> str:
        """host:port, by which an open head is allowed."""
        return urlsplit(self.url).netloc


def address(told: str, environment: Mapping[str, str]) -> str:
    """URL of the job server: as told, as the environment says, or this machine's.

    Raises:
        ConfigError: it is the address of something else.
    """
    found = told or next((environment[name] for name in ENVIRONMENT if environment.get(name)), "") or DEFAULT
    if found == "auto":
        return DEFAULT
    if "://" not in found:
        raise ConfigError(
            f"the address {found} is not a job server's; type --address http://HOST:8265 (8265 is Ray's usual port for "
            "jobs; host:6379 is for drivers inside the cluster)"
        )
    if not found.startswith(("http://", "https://")):
        raise ConfigError(f"the address {found} is not http or https; jobs are sent to http://HOST:8265")
    return found.rstrip("/")


def probe(url: str) -> Head:
    """Ask the job server for its version, without a token.

    Raises:
        ConfigError: nobody answers there, or something that is no Ray.
    """
    try:
        with urllib.request.urlopen(f"{url}/api/version", timeout=PROBE_S) as reply:  # noqa: S310 http(s) only
            version = dict(json.load(reply))
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return Head(url, is_open=False, ray_version="")
        raise ConfigError(f"{url} answers {error.code} when asked for its version; it is no head of Ray") from error
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"no head of Ray answers at {url} ({error}); start one with `ray start --head`, forward its port with "
            "`ssh -L 8265:localhost:8265 HEAD` or `kubectl port-forward service/NAME-head-svc 8265`, or type --address"
        ) from error
    return Head(url, is_open=True, ray_version=str(version.get("ray_version", "")))


def admit(head: Head, allowed: str, option: str = "--allow-open-head {}") -> None:
    """Let a head be used if it checks tokens, or if the user named it all the same.

    Args:
        allowed: host:port of an open head that is allowed; empty: none is; `*`: any is.
        option: how a user names one.

    Raises:
        ConfigError: it is open, and it is not the one that was named.
    """
    if head.is_open and allowed not in (head.name, ANY):
        raise ConfigError(
            f"the head at {head.url} takes jobs without a token: whoever reaches it runs code there (CVE-2023-48022). "
            f"Start it with `ray get-auth-token --generate; RAY_AUTH_MODE=token ray start --head`; or, where nobody "
            f"else can reach it, name it: {option.format(head.name)}"
        )
