"""What `fusion doctor` looks at beside the machine: the head that jobs would go to, its token, what would travel."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import fusion
from fusion.errors import ConfigError
from fusion.finding import Finding
from fusion.submission.head import ENVIRONMENT, address, probe
from fusion.submission.upload import LIMIT_BYTES, collect

TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 a path


def token() -> Finding:
    """A head that is started without a token and without RAY_AUTH_MODE lets everybody in."""
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if mode == "disabled":
        found = "RAY_AUTH_MODE=disabled: whoever reaches a head that is started here runs code"
        return Finding("ray token", False, found, "unset RAY_AUTH_MODE")
    if os.environ.get("RAY_AUTH_TOKEN"):
        found = "RAY_AUTH_TOKEN holds the token itself, which every process and its children can read"
        return Finding("ray token", True, found, f"put it into {TOKEN_FILE} and unset RAY_AUTH_TOKEN")
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN_FILE).expanduser()
    if not path.is_file():
        if mode == "token":
            return Finding(
                "ray token", False, f"RAY_AUTH_MODE=token, and there is no {path}", "ray get-auth-token --generate"
            )
        found = "none: `ray start --head` would let everybody in; a Ray that a run starts makes its own"
        return Finding("ray token", True, found, "ray get-auth-token --generate   # before ray start --head")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Finding("ray token", False, f"{path} can be read by other users", f"chmod 600 {path}")
    return Finding("ray token", True, f"in {path}")


def head() -> Finding:
    """The head that `fusion submit` would go to, if one is named or runs here."""
    named = any(os.environ.get(name) for name in ENVIRONMENT)
    try:
        found = probe(address("", os.environ))
    except ConfigError as error:
        if not named:
            return Finding("ray head", True, "none here (a run starts its own)")
        return Finding("ray head", False, str(error).split(";")[0], "ray start --head, or set RAY_API_SERVER_ADDRESS")
    if found.is_open:
        remedy = "ray get-auth-token --generate; ray stop; RAY_AUTH_MODE=token ray start --head"
        return Finding("ray head", False, f"{found.url} takes jobs from anybody who reaches it", remedy)
    return Finding("ray head", True, f"{found.url} wants a token")


def upload() -> Finding:
    """What a job would carry from here."""
    size = collect(Path(fusion.__file__).resolve().parents[1], None, [], Path.cwd()).num_bytes
    return Finding("upload", size <= LIMIT_BYTES, f"{size / 2**20:.1f} MiB would travel with a job")


def object_stores() -> Finding:
    """Whether s3:// and gs:// can be read, and who would be asked for keys."""
    from importlib.util import find_spec

    there = [scheme for scheme, package in (("s3://", "s3fs"), ("gs://", "gcsfs")) if find_spec(package)]
    missing = [package for package in ("s3fs", "gcsfs") if not find_spec(package)]
    found = f"stores: disk{''.join(f', {one}' for one in there)}"
    return Finding("stores", True, found, f"pip install {' '.join(missing)}   # for s3:// or gs://" if missing else "")


CLUSTER_CHECKS = (token, head, upload, object_stores)
