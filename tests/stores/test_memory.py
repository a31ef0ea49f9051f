"""The store in memory does what every store does."""

import os
from collections.abc import Iterator

import pytest
from tests.stores.conformance import Conformance, Make

from hanatalk.stores.interface import Store
from hanatalk.stores.memory import MemoryStore


class TestMemoryStore(Conformance):
    @pytest.fixture
    def make(self) -> Iterator[Make]:
        return MemoryStore

    def again(self, store: Store) -> Store:
        return store


def test_nothing_is_written(tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = MemoryStore()
    store.close()
    assert os.listdir(tmp_path) == []
