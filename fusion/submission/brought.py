"""Small files that a job brings back through its log, each with its sha256: the one channel that every Ray head has.

fusion-file result.json 1/3 <sha256 of the file> <base64 of compressed bytes>
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from dataclasses import dataclass, field

from fusion.errors import ArtifactError

MARK = "fusion-file"
LINE = re.compile(rf"{MARK} (\S+) ([1-9]\d{{0,5}})/([1-9]\d{{0,5}}) ([0-9a-f]{{64}}) ([A-Za-z0-9+/=]+)", re.ASCII)
"""Anything else that begins with the mark is an ordinary line."""
CHUNK = 6000
"""Characters a line: log collectors cut lines of 8 to 16 KiB."""


def encoded(name: str, data: bytes) -> list[str]:
    """The lines that carry a file."""
    text = base64.b64encode(zlib.compress(data, 9)).decode()
    pieces = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
    digest = hashlib.sha256(data).hexdigest()
    return [f"{MARK} {name} {number}/{len(pieces)} {digest} {piece}" for number, piece in enumerate(pieces, 1)]


@dataclass
class Receiver:
    """Takes a log apart, as it comes, into what people read and the files in it."""

    _rest: str = ""
    _pieces: dict[str, dict[int, str]] = field(default_factory=dict)
    _expected: dict[str, tuple[int, str]] = field(default_factory=dict)

    def feed(self, text: str) -> str:
        """Whole lines of the log that people read; the lines of files are kept here."""
        *lines, self._rest = (self._rest + text).split("\n")
        return "".join(f"{line}\n" for line in lines if not self._is_taken(line))

    def end(self) -> str:
        """What is left of a log that does not end with a line break."""
        rest, self._rest = self._rest, ""
        return "" if not rest or self._is_taken(rest) else f"{rest}\n"

    def files(self) -> dict[str, bytes]:
        """Every file that came whole.

        Raises:
            ArtifactError: a file is not what its sha256 says.
        """
        found = {}
        for name, (count, digest) in self._expected.items():
            pieces = self._pieces[name]
            if len(pieces) < count:
                continue
            try:
                data = zlib.decompress(base64.b64decode("".join(pieces[n] for n in range(1, count + 1))))
            except (ValueError, zlib.error):
                data = b""
            if hashlib.sha256(data).hexdigest() != digest:
                raise ArtifactError(f"{name} came back damaged: its sha256 differs; ask for the job's log again")
            found[name] = data
        return found

    def _is_taken(self, line: str) -> bool:
        if (found := LINE.fullmatch(line)) is None or int(found[2]) > int(found[3]):
            return False
        name, number, count, digest, piece = found.groups()
        if self._expected.get(name) != (int(count), digest):
            self._expected[name], self._pieces[name] = (int(count), digest), {}
        self._pieces[name][int(number)] = piece
        return True
