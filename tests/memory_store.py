"""fsspec's own store in memory under another scheme, as some client of an object store would behave."""

from __future__ import annotations

import itertools
from asyncio import AbstractEventLoop
from typing import ClassVar

import pytest
from fsspec.asyn import get_loop
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry


class MemoryStore(MemoryFileSystem):
    """A subclass has a store and a scheme of its own."""

    store: ClassVar[dict[str, object]]

    def __init_subclass__(cls) -> None:
        cls.store, cls.pseudo_dirs = {}, [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.partition("://")[2] if "://" in path else path))


class GoogleStore(MemoryStore):
    """With the conditions that `fusion.object_store` asks of gcsfs. A bucket whose name begins with `zonal` is one."""

    protocol = ("gs", "gcs")
    generations: ClassVar[dict[str, str]] = {}
    _next = itertools.count(1)

    @property
    def loop(self) -> AbstractEventLoop:
        return get_loop()

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **settings: object) -> None:
        super().pipe_file(path, value, mode=mode)
        self.generations[self._strip_protocol(path)] = str(next(self._next))

    def info(self, path: str, **settings: object) -> dict[str, object]:
        return {**super().info(path), "generation": self.generations.get(self._strip_protocol(path))}

    def split_path(self, path: str) -> tuple[str, str, None]:
        bucket, _, key = path.strip("/").partition("/")
        return bucket, key, None

    def call(self, method: str, template: str, bucket: str, key: str, *, ifGenerationMatch: str) -> None:
        path = f"/{bucket}/{key}"
        assert (method, template) == ("DELETE", "b/{}/o/{}")
        if self.info(path)["generation"] != ifGenerationMatch:
            raise FileExistsError(path)  # what gcsfs makes of 412
        self.rm_file(path)

    async def _is_zonal_bucket(self, bucket: str) -> bool:
        return bucket.startswith("zonal")


class ForgetfulStore(MemoryStore):
    """The first answer to who asks for a new file is lost, and the client asks again by itself."""

    protocol = "forgetful"
    lost: ClassVar[list[str]] = []

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **settings: object) -> None:
        super().pipe_file(path, value, mode=mode)
        if mode == "create" and not self.lost:
            self.lost.append(path)
            raise FileExistsError(path)


class CarelessStore(MemoryStore):
    """Gives a name that is taken again, as a server does that does not know the condition."""

    protocol = "careless"

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **settings: object) -> None:
        super().pipe_file(path, value, mode="overwrite")


class UnconditionalStore(MemoryStore):
    """Its client knows no condition."""

    protocol = "unconditional"

    def pipe_file(self, path: str, value: bytes, **settings: object) -> None:
        super().pipe_file(path, value)


def known(monkeypatch: pytest.MonkeyPatch, store: type[MemoryStore]) -> str:
    """Have fsspec know a store for one test; returns its scheme."""
    scheme = store.protocol if isinstance(store.protocol, str) else store.protocol[0]
    monkeypatch.setitem(_registry, scheme, store)
    store.clear_instance_cache()
    return f"{scheme}://"
