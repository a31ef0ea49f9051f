"""Build hook: compile the sentence catalogues (`.po` to `.mo`), so that a start only reads them."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CatalogueHook(BuildHookInterface):
    """Runs for wheels and editable installs alike."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, str(Path(self.root) / "scripts"))
        from compile_catalogues import compile_catalogues

        compile_catalogues(Path(self.root) / "src" / "hanatalk" / "words")
