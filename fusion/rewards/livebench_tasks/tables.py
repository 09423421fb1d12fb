"""Tables of LiveBench in the six formats that its questions name, read as pandas reads them, and held against another.

Row labels do not count: the keys of a JSON object of rows, the first column of a Markdown table. As in LiveBench's
later versions, space around a text does not count, and a value that is missing is equal to another. Unlike there, the
line of dashes in Markdown, which aligns columns, does not count.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame

ORIENTATIONS = ("index", "records", "lines", "table", "values")
"""Of JSON, in the order in which they are tried."""
ALIGNMENT = frozenset("|:- \t\r")
"""What a line of Markdown has that only says how columns are aligned."""


class Unreadable(Exception):  # noqa: N818 (no fault of the program's)
    """A text is no table in the format."""


def read_table(text: str, form: str) -> DataFrame:
    """A table in JSON, JSONL, HTML, CSV, Markdown or TSV.

    Raises:
        Unreadable: it is none, or the format is another.
    """
    import pandas as pd

    file = io.StringIO(text)
    try:
        match form:
            case "json":
                return _json(text)
            case "jsonl":
                return pd.read_json(file, orient="records", lines=True)
            case "html":
                return pd.read_csv(_as_csv(text))
            case "csv":
                return pd.read_csv(file)
            case "tsv":
                return pd.read_csv(file, sep="\t")
            case "markdown":
                rows = [line for line in text.split("\n") if not ("-" in line and ALIGNMENT.issuperset(line))]
                return pd.read_csv(io.StringIO("\n".join(rows)), sep="|", index_col=1, skipinitialspace=True)
    except (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError) as error:
        raise Unreadable(f"is no {form}: {type(error).__name__}: {error}"[:200]) from error
    raise Unreadable(f"is in the format {form!r}, which is not known")


def is_same_table(one: DataFrame, other: DataFrame) -> bool:
    """Whether columns of the same names (capitals do not count) have the same values, in whatever order."""
    ours, theirs = _columns(one), _columns(other)
    return ours is not None and ours == theirs


def _columns(table: DataFrame) -> list[tuple[str, Counter[object]]] | None:
    """Name and values of each column, by name; None where a value cannot be compared (a list in JSON)."""
    try:
        columns = [
            (str(name).lower().strip(), Counter(_plain(value) for value in table.iloc[:, at].tolist()))
            for at, name in enumerate(table.columns)
        ]
    except (TypeError, ValueError):
        return None
    return sorted(columns, key=lambda column: column[0])


def _plain(value: object) -> object:
    import pandas as pd

    if isinstance(value, str):
        return value.strip() or None
    return None if pd.isna(value) else value


def _json(text: str) -> DataFrame:
    import pandas as pd

    problem: Exception | None = None
    for orientation in ORIENTATIONS:
        how = {"orient": "records", "lines": True} if orientation == "lines" else {"orient": orientation}
        try:
            return pd.read_json(io.StringIO(text), **how)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            problem = error
    raise ValueError(str(problem))


def _as_csv(text: str) -> io.StringIO:
    """The rows of all tables of a page as CSV, of which pandas makes numbers as it does of HTML's."""
    reader = _Rows()
    reader.feed(text)
    if not reader.rows:
        raise ValueError("there are no rows")
    file = io.StringIO()
    csv.writer(file).writerows([cell.strip() for cell in row] for row in reader.rows)
    file.seek(0)
    return file


class _Rows(HTMLParser):
    """Collects the text of cells, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self._is_in_cell = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        self._is_in_cell = tag in ("td", "th") and bool(self.rows)
        if self._is_in_cell:
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        if self._is_in_cell:
            self.rows[-1][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._is_in_cell = self._is_in_cell and tag not in ("td", "th")
