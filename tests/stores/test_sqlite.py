"""The SQLite store does what every store does, also across a clean end and across kill -9."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.stores.conformance import Conformance, Make

from hanatalk.stores.interface import Store
from hanatalk.stores.sqlite import SqliteStore

KEY = bytes(range(32))


class _Stores:
    """Opens stores in a folder and closes those that a test leaves open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.opened: dict[Store, tuple[Path, dict[str, Any]]] = {}

    def make(self, path: Path | None = None, **settings: Any) -> Store:
        path = path or self.folder / f"store{len(self.opened)}.db"
        store = SqliteStore(path, key=KEY, **settings)
        self.opened[store] = (path, settings)
        return store


class TestSqliteStore(Conformance):
    """Closed and opened again."""

    @pytest.fixture(autouse=True)
    def stores(self, tmp_path: Path) -> Iterator[_Stores]:
        self._stores = _Stores(tmp_path)
        yield self._stores
        for store in self._stores.opened:
            store.close()

    @pytest.fixture
    def make(self, stores: _Stores) -> Make:
        return stores.make

    def again(self, store: Store) -> Store:
        path, settings = self._stores.opened[store]
        store.close()
        return self._stores.make(path, **settings)


class TestKilledSqliteStore(TestSqliteStore):
    """The files as they lie when the process is killed: copied away under the running store, and opened there."""

    def again(self, store: Store) -> Store:
        path, settings = self._stores.opened[store]
        copied = path.with_name(path.name + "+")
        for suffix in ("", "-wal"):
            file = path.with_name(path.name + suffix)
            if file.exists():
                copied.with_name(copied.name + suffix).write_bytes(file.read_bytes())
        return self._stores.make(copied, **settings)
