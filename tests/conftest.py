"""What every test may rely on: compiled catalogues, Hypothesis without deadlines (the machine is shared)."""

from pathlib import Path

import hypothesis
from scripts.compile_catalogues import compile_catalogues

ROOT = Path(__file__).resolve().parent.parent

hypothesis.settings.register_profile("hanatalk", deadline=None, print_blob=True)
hypothesis.settings.load_profile("hanatalk")
compile_catalogues(ROOT / "src" / "hanatalk" / "words")
