"""Rows of a local file, whatever its format; the name of a row is how errors and DROP rows speak of it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from fusion.errors import ConfigError

Row = tuple[str, object]
"""Name of the row (`file.jsonl:17`, `file.parquet:0`) and what it holds."""


def file_rows(path: Path) -> Iterator[Row]:
    """Rows of a file by its ending: .jsonl, .json (one list of objects), either with .gz, or .parquet.

    Raises:
        ConfigError: another ending, or a row that cannot be read (see the functions below).
    """
    for ending, read in _READERS.items():
        if path.name.endswith((ending, f"{ending}.gz")):
            return read(path)
    raise ConfigError(f"{path} has no known ending; name a file that ends in {', '.join(_READERS)} (.gz as well)")


def jsonl_rows(path: Path) -> Iterator[Row]:
    """One JSON value a line, plain or gzipped; empty lines are skipped.

    Raises:
        ConfigError: a line is malformed or not UTF-8 (its number is named), or the gzip file is torn.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path.name}:{number}", _parsed(line, f"{path}:{number}", "one object a line is expected")
        except (gzip.BadGzipFile, EOFError) as error:
            raise ConfigError(f"{path} is not a whole gzip file: {error}") from error


def json_rows(path: Path) -> Iterator[Row]:
    """The items of one JSON list, numbered from 0; plain or gzipped.

    Raises:
        ConfigError: the file is not a list, malformed, or not UTF-8.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (gzip.BadGzipFile, EOFError) as error:
        raise ConfigError(f"{path} is not a whole gzip file: {error}") from error
    rows = _parsed(data, str(path), "a list of objects is expected; name a file of lines .jsonl")
    if not isinstance(rows, list):
        raise ConfigError(f"{path} holds one {type(rows).__name__}; a list of objects is expected")
    for number, row in enumerate(rows):
        yield f"{path.name}:{number}", row


def parquet_rows(path: Path) -> Iterator[Row]:
    """Rows of a Parquet file, numbered from 0.

    Raises:
        ConfigError: the file cannot be read as Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for row in batch.to_pylist():
                    yield f"{path.name}:{number}", row
                    number += 1
    except (pa.ArrowInvalid, OSError) as error:
        raise ConfigError(f"{path} cannot be read as Parquet: {error}") from error


def stem(path: Path) -> str:
    """The name of a file without its endings."""
    return path.name.removesuffix(".gz").removesuffix(path.with_name(path.name.removesuffix(".gz")).suffix)


def _parsed(data: bytes, where: str, expected: str) -> object:
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: byte {error.start + 1} is not UTF-8; convert the file, e.g. with iconv") from error
    except ValueError as error:
        raise ConfigError(f"{where}: malformed JSON ({error}); {expected}") from error


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".jsonl": jsonl_rows,
    ".json": json_rows,
    ".parquet": parquet_rows,
}
