"""What `fusion doctor` looks at beside the machine: the head that jobs would go to, its token, what would travel."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import fusion
from fusion.doctor.finding import Finding, judged
from fusion.errors import ConfigError
from fusion.provenance import versions
from fusion.submission.head import ENVIRONMENT, PROBE_S, Head, address, probe
from fusion.submission.upload import LIMIT_BYTES, collect

TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 a path
JOIN_S = 60.0
JOIN = """
import json, sys, ray
from ray._private.authentication.authentication_utils import is_token_auth_enabled
found = ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
alive = sum(node["Alive"] for node in ray.nodes())
print(json.dumps({"nodes": alive, "dashboard": found.dashboard_url or "", "token": is_token_auth_enabled()}))
"""
"""A process of its own, since Ray aborts the one that it cannot connect."""
TOKEN_REMEDY = "ray get-auth-token --generate; ray stop; RAY_AUTH_MODE=token ray start --head"  # noqa: S105 a command


def token() -> Finding:
    """A head that is started without a token and without RAY_AUTH_MODE lets everybody in."""
    mode = os.environ.get("RAY_AUTH_MODE", "")
    if mode == "disabled":
        found = "RAY_AUTH_MODE=disabled: whoever reaches a head that is started here runs code"
        return judged("ray token", found, failure="unset RAY_AUTH_MODE")
    if os.environ.get("RAY_AUTH_TOKEN"):
        found = "RAY_AUTH_TOKEN holds the token itself, which every process and its children can read"
        return judged("ray token", found, advice=f"put it into {TOKEN_FILE} and unset RAY_AUTH_TOKEN")
    path = _token_file()
    if not path.is_file():
        if mode == "token":
            found = f"RAY_AUTH_MODE=token, and there is no {path}"
            return judged("ray token", found, failure="ray get-auth-token --generate")
        found = "none: `ray start --head` would let everybody in; a Ray that a run starts makes its own"
        return judged("ray token", found, advice="ray get-auth-token --generate   # before ray start --head")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return judged("ray token", f"{path} can be read by other users", failure=f"chmod 600 {path}")
    return judged("ray token", f"in {path}")


def head() -> Finding:
    """The head that `fusion submit` would go to, if one is named or runs here."""
    named = next((os.environ[name] for name in ENVIRONMENT if os.environ.get(name)), "")
    if named and named == _driver_address():
        return judged("ray head", f"{named} is for drivers inside the cluster; jobs go to RAY_API_SERVER_ADDRESS")
    try:
        found = probe(address("", os.environ))
    except ConfigError as error:
        if not named:
            return judged("ray head", "none here (a run starts its own)")
        remedy = "ray start --head, or set RAY_API_SERVER_ADDRESS"
        return judged("ray head", str(error).split(";")[0], failure=remedy)
    return _open_to_all("ray head", found.url) if found.is_open else _as_we_are(found)


def joined(setting: str | None) -> Finding:
    """The Ray that a run would join: Ray itself refuses another version or a wrong token.

    Args:
        setting: `cluster.ray.address`; null: a driver's address in RAY_ADDRESS is tried, for runs with auto.
    """
    told = setting or _driver_address()
    if not told:
        return judged("ray", "a run starts its own (cluster.ray.address=null)")
    name = f"cluster.ray.address={told}" if setting else f"RAY_ADDRESS={told}"
    remedy = "ray start --head, or cluster.ray.address=null"
    host, _, port = told.rpartition(":")
    try:
        if host and port.isdigit():  # Ray would try for a minute
            socket.create_connection((host, int(port)), timeout=PROBE_S).close()
        done = subprocess.run([sys.executable, "-c", JOIN, told], capture_output=True, text=True, timeout=JOIN_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return judged("ray", f"nobody answers at {name}: {error}", failure=remedy)
    if done.returncode:
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        remedy = "make setup on every node, from one lock; a token in ~/.ray/auth_token; a driver on a node of it"
        return judged("ray", f"{name} cannot be joined: {reason}", failure=remedy)
    said = json.loads(done.stdout.splitlines()[-1])
    dashboard = f"http://{said['dashboard']}" if said["dashboard"] else ""
    if probe(dashboard).is_open if dashboard else not said["token"]:
        return _open_to_all("ray", dashboard or name)
    return judged("ray", f"{name} has {said['nodes']} nodes, wants a token, and is of this version of Ray")


def upload() -> Finding:
    """What a job would carry from here."""
    size = collect(Path(fusion.__file__).resolve().parents[1], None, [], Path.cwd()).num_bytes
    remedy = "" if size <= LIMIT_BYTES else "remove large files from fusion/, actors/ and conf/"
    return judged("upload", f"{size / 2**20:.1f} MiB would travel with a job", failure=remedy)


def _as_we_are(found: Head) -> Finding:
    """Whether a head that wants a token takes ours, and is of the version that is installed here."""
    own, path = versions().get("ray", ""), _token_file()
    shown = os.environ.get("RAY_AUTH_TOKEN") or (path.read_text().strip() if path.is_file() else "")
    if not shown:
        return judged("ray head", f"{found.url} wants a token, and there is none here", failure=f"put it into {path}")
    request = urllib.request.Request(f"{found.url}/api/version", headers={"Authorization": f"Bearer {shown}"})  # noqa: S310 http(s)
    try:
        with urllib.request.urlopen(request, timeout=PROBE_S) as reply:  # noqa: S310 http(s) only
            theirs = str(json.load(reply).get("ray_version", ""))
    except urllib.error.HTTPError as error:
        remedy = f"put the token of that head into {path}"
        return judged("ray head", f"{found.url} answers {error.code} to the token that is here", failure=remedy)
    except (OSError, ValueError) as error:
        return judged("ray head", f"{found.url} went silent: {error}", failure=f"curl {found.url}/api/version")
    if theirs != own:
        remedy = "make setup here and there, from one lock"
        return judged("ray head", f"{found.url} is Ray {theirs}, and {own} is here", failure=remedy)
    return judged("ray head", f"{found.url} wants a token, takes ours, and is Ray {theirs}")


def _open_to_all(name: str, url: str) -> Finding:
    return judged(name, f"{url} takes jobs from anybody who reaches it", failure=TOKEN_REMEDY)


def _driver_address() -> str:
    """host:port of RAY_ADDRESS; empty where it names a job server, or nothing."""
    named = os.environ.get("RAY_ADDRESS", "")
    return "" if "://" in named or named == "auto" else named


def _token_file() -> Path:
    return Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN_FILE).expanduser()


CHECKS = (token, head, upload)
