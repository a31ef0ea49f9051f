"""`hana demo` as `make demo` runs it. That each claim can fail is shown in tests/drill/test_demo.py (`make soak`)."""

import time
from pathlib import Path

import pytest
from tests.e2e.commands import Person


@pytest.mark.timeout(180)
def test_every_claim_of_the_demo_holds_in_under_50_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = Person(tmp_path / "untouched").type("demo", "--headless")
    took = time.monotonic() - began
    claims = ended.objects
    assert [claim for claim in claims if not claim["ok"]] == []
    assert (ended.code, ended.err) == (0, "")
    assert len({claim["claim"] for claim in claims}) == len(claims) >= 8
    for claim in claims:
        assert claim.keys() >= {"claim", "ok", "evidence"}
        assert claim["evidence"]
    assert took < 50
    assert not (tmp_path / "untouched").exists()
