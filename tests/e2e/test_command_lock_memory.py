"""T-051: after `lock` the profile's keys are in the memory of no process, and in no file.

Not because memory was wiped (Python cannot): the process that had it open ends, and the kernel takes its pages.
"""

import contextlib
from pathlib import Path

from tests.e2e.commands import PATIENCE, Person, RelayProcess
from tests.e2e.test_command_relay_memory import counted

from hanatalk.localdb.database import FILE, Database
from hanatalk.localdb.vault import Vault

PASSPHRASE = "아무도 모르는 긴 비밀번호 카나리아"


def with_home(home: Path) -> list[int]:
    """Processes that were started for this profile."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # of others, or gone
            if f"HANA_HOME={home}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def test_t051_after_lock_no_process_and_no_file_has_the_keys(relay: RelayProcess, tmp_path: Path) -> None:
    """T-051: database key, passphrase, device key; the positive control: the process of the open profile has them."""
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    locked = Person(tmp_path / "home")
    locked.do("--passphrase-file", "-", "init", "--name", "민지", "--relay", relay.url, stdin=PASSPHRASE + "\n")
    opened = Person(locked.home, ("--json", "--passphrase-file", str(tmp_path / "passphrase")))
    key = Vault(locked.home).open(passphrase=PASSPHRASE).key
    database = Database(locked.home / FILE, key)
    seed = database.setting("device-seed")
    database.close()
    assert seed is not None
    needles = {
        "key": [key, key.hex().encode()],
        "seed": [seed, seed.hex().encode()],
        "passphrase": [PASSPHRASE.encode()],
    }
    with opened.listening() as listening:
        owner = listening.process.pid
        assert with_home(locked.home) == [owner]
        before = counted(owner, needles)
        assert before["key"]
        assert before["seed"]  # what opens the profile, and what it signs with, are there while it is open
        assert locked.do("lock").object == {"locked": True}
        assert listening.process.wait(PATIENCE) == 0
    assert not Path(f"/proc/{owner}").exists()
    assert with_home(locked.home) == []  # nothing was left behind that lives on
    for path in locked.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [kind for kind, each in needles.items() if any(needle in content for needle in each)], path
    assert locked.type("chats").error["error"] == "profile.passphrase-needed"


def test_t051_who_locks_or_asks_through_the_owner_never_learns_the_keys(relay: RelayProcess, tmp_path: Path) -> None:
    """T-051: a second listener goes through the first; its memory has neither key nor passphrase."""
    (tmp_path / "passphrase").write_text(PASSPHRASE)
    locked = Person(tmp_path / "home")
    locked.do("--passphrase-file", "-", "init", "--name", "민지", "--relay", relay.url, stdin=PASSPHRASE + "\n")
    opened = Person(locked.home, ("--json", "--passphrase-file", str(tmp_path / "passphrase")))
    key = Vault(locked.home).open(passphrase=PASSPHRASE).key
    needles = {"key": [key, key.hex().encode()], "passphrase": [PASSPHRASE.encode()]}
    with opened.listening() as first, locked.listening() as second:
        assert counted(first.process.pid, needles)["key"]
        assert counted(second.process.pid, needles) == {"key": 0, "passphrase": 0}
        assert locked.do("lock").object == {"locked": True}
        assert first.process.wait(PATIENCE) == second.process.wait(PATIENCE) == 0
