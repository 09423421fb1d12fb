"""`fusion merge CONFIG.yml OUT_DIR`: merge checkpoints as a YAML file of mergekit's form says."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fusion.errors import ConfigError
from fusion.merging import folder as merging
from fusion.merging.folder import Merge, MergeOutput
from fusion.merging.matching import Checkpoint, Rows
from fusion.merging.mergekit_yaml import MergekitConfig, methods, model_ref, read
from fusion.merging.shards import SHARD_BYTES
from fusion.merging.slices import check_layers
from fusion.merging.stream import Place
from fusion.modelfiles import DEFAULT_CACHE, prepare
from fusion.runtime import InProcess, Runtime
from fusion.step import Placement


def merge(arguments: Sequence[str], ray: Callable[[int], Runtime]) -> int:
    """Args:
    ray: makes a Ray runtime with so many logical CPUs; called only when asked for.

    Raises:
        ConfigError: the file, a model or the output folder is refused; nothing is left behind.
    """
    options = _parser().parse_args(arguments)
    config, out = read(options.config), Path(options.out_dir).absolute()
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty; remove it or name another folder")
    began = time.monotonic()
    ready = _ready(config, options)
    if options.ray:
        runtime, placement = ray(options.jobs), Placement(replicas=options.jobs, in_flight=2)
    else:
        runtime, placement = InProcess(), Placement(in_flight=options.jobs)
    building = out.with_name(f".{out.name}.merging")
    shutil.rmtree(building, ignore_errors=True)
    try:
        notices = merging.run(ready, building, runtime, placement, "merge", progress=_progress, sync_each=options.ray)
        if out.exists():
            out.rmdir()
        os.rename(building, out)
    finally:
        runtime.close()
        shutil.rmtree(building, ignore_errors=True)
    for notice in notices:
        print(f"note: {notice}")
    names = ", ".join(model.name for model in ready.models)
    print(f"merged {names} into {out} in {time.monotonic() - began:.1f} s")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fusion merge",
        description="Merge checkpoints of one architecture, as a YAML file of mergekit's form says. "
        f"Methods: {', '.join(sorted(methods()))}.",
    )
    parser.add_argument("config", type=Path, help="mergekit's YAML")
    parser.add_argument("out_dir", type=Path, help="folder of the merged model; made, or empty")
    parser.add_argument("--jobs", type=_positive, default=os.cpu_count() or 1, help="tensors merged at a time")
    parser.add_argument("--ray", action="store_true", help="in processes of a Ray cluster instead of threads")
    parser.add_argument("--rows", choices=[one.value for one in Rows], default=Rows.REFUSE.value,
                        help="where vocabularies have different sizes: refuse, or keep the base's rows")  # fmt: skip
    parser.add_argument("--shard-bytes", type=_positive, default=SHARD_BYTES, help="size of an output file")
    parser.add_argument("--cache", default=DEFAULT_CACHE, help="folder of models fetched from a hub")
    return parser


def _ready(config: MergekitConfig, options: argparse.Namespace) -> Merge:
    """Everything at hand, checked as far as it can be before a byte is written."""
    written = [config.base, *config.models]
    names = _names(written)
    places, found = [], []
    for text, name in zip(written, names, strict=True):
        ref = model_ref(text, options.config.parent)
        place = Place(ref if ref.uri.startswith("hf://") else ref.uri, options.cache)
        path = prepare(ref, Path(options.cache)) if ref.uri.startswith("hf://") else Path(ref.uri)
        places.append(place)
        found.append(Checkpoint(name, path))
    layers = {one.name: int(str(one.config.get("num_hidden_layers", 1))) for one in found}
    check_layers(config.num_layers, layers)
    num_layers = layers[found[0].name]
    source = config.tokenizer_source
    return Merge(
        base=found[0],
        models=tuple(found[1:]),
        places=tuple(places),
        methods=lambda tensor: config.method(tensor, num_layers),
        output=MergeOutput(
            dtype=config.dtype,
            shard_bytes=options.shard_bytes,
            rows=Rows(options.rows),
            tokenizer_from=names[written.index(source)] if source else "",
        ),
    )


def _names(written: Sequence[str]) -> list[str]:
    """What messages call the models: as they are written, and a number where one is written twice."""
    return [text if written.index(text) == i else f"{text} ({i})" for i, text in enumerate(written)]


def _progress(done: int, total: int) -> None:
    """One line that is written over; in a file only the last."""
    if done == total or sys.stdout.isatty():
        print(f"\r{done / total:4.0%} of {total:,} weights", end="\n" if done == total else "", flush=True)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value
