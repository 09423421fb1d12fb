"""`fusion align`: how the tokens of two tokenizers meet on a text."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fusion.errors import ConfigError
from fusion.explicit.alignment import AlignmentMode
from fusion.explicit.tokenizers import TextTokenizer, load


def align(arguments: Sequence[str]) -> int:
    """`fusion align A B --text FILE [--html OUT]`; A is the source, B the pivot.

    Raises:
        ConfigError: a tokenizer or the text is not there.
        SpanError: a tokenizer cannot spell the text.
    """
    parser = argparse.ArgumentParser(
        prog="fusion align",
        description="Show how the tokens of two tokenizers meet on a text. A and B are model folders, files "
        "tokenizer.json(.gz) or *.model, or names of yaml files in conf/source or conf/target.",
    )
    parser.add_argument("source", metavar="A")
    parser.add_argument("pivot", metavar="B")
    parser.add_argument("--text", required=True, help="a UTF-8 file, or - for standard input")
    parser.add_argument("--html", help="also write one HTML file here")
    parser.add_argument("--mode", choices=[mode.value for mode in AlignmentMode], default="byte_offsets")
    options = parser.parse_args(arguments)
    from rich.console import Console

    from fusion.explicit.view import html, print_view, view

    text, mode = _text(options.text), AlignmentMode(options.mode)
    seen = view(text, named(options.source), named(options.pivot), mode)
    print_view(Console(highlight=False), seen)
    if options.html:
        Path(options.html).write_text(html([seen]), "utf-8")
        print(f"html    {options.html}")
    return 0


def named(name: str) -> TextTokenizer:
    """A tokenizer by path, or that of a model in conf/.

    Raises:
        ConfigError: there is neither.
    """
    path = Path(name).expanduser()
    if path.exists() or "/" in name or path.suffix:
        return load(path)
    from dataclasses import replace

    from fusion.configured_model import configured_model
    from fusion.modelfiles import DEFAULT_CACHE, prepare

    return replace(load(prepare(configured_model(name), Path(DEFAULT_CACHE))), name=name)


def _text(name: str) -> str:
    if name == "-":
        return sys.stdin.read()
    try:
        return Path(name).read_bytes().decode()
    except FileNotFoundError as error:
        raise ConfigError(f"--text {name}: there is no such file") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"--text {name}: byte {error.start} is not UTF-8; convert it, e.g. with iconv") from error
