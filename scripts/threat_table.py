"""Fill in the table of cases in spec/threat-model.md: which tests name `T-001` … `T-088`.

python scripts/threat_table.py           # rewrite the table
python scripts/threat_table.py --check   # exit code 1 if it is not current
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "spec" / "threat-model.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"
CASE = re.compile(r"T-(\d{3})\b(?!'s)")  # "T-001's tool" names a case without claiming to test it
SOURCES = ("tests/**/test_*.py", "tests/interop/*.ts", "tests/interop/*.mjs", "rust/*/tests/**/*.rs")

SECTIONS: dict[str, dict[int, str]] = {
    "The relay is seized (disk, memory, logs)": {
        1: "texts and names are in none of the relay's files, in any encoding; the search finds them where they are",
        2: "the running relay's memory holds no plaintext and no message keys; what it holds is listed",
        3: "no address, port, token, channel id or URL in any log line, at any level, on any error path",
        4: "schema and rows hold no exact time, address or user agent, nor an order across channels",
        5: "expired ciphertext is gone from the disk; the worst lag is stated",
        6: "with the database one can neither read nor write through the relay",
        7: "asked for six weeks of messages, the relay has what its retention left, opaque",
        8: "linking the channels of one person from the seized files: AUC printed, at most 0.55",
        9: "proxy sample, service unit, NATS monitoring and crash output give nothing away",
        10: "backups made as advised outlive no retention",
    },
    "A malicious relay": {
        11: "a replayed frame of any age is shown once and changes nothing",
        12: "reordering within the tolerance shows everything, beyond it a gap",
        13: "one withheld message shows as a gap at the next",
        14: "a withheld tail warns of staleness, never claims to be caught up",
        15: "commits split between two halves raise an alarm at the next cross-check",
        16: "an injected leaf or external commit is rejected, the roster stays",
        17: "a swapped KeyPackage does not fit the invite; joining is aborted",
        18: "a stale or expired KeyPackage is rejected",
        19: "every byte flipped, every length cut: a typed error, no crash, no state changed",
        20: "an empty or short AEAD tag is rejected",
        21: "false answers (stale turn, erased, taken) are detected; the message still gets there",
        22: "a removal goes through a channel flooded with control entries",
        23: "an invalid commit with an old GroupInfo causes no automatic rejoin",
        24: "a relay wiped or put back to yesterday is noticed and refilled, without a fork",
        25: "the relay cannot serve code",
    },
    "A malicious or removed member": {
        26: "a removed member reads nothing of the new era",
        27: "what a removed member appends is ignored",
        28: "content sent again by an insider is refused; a commit cannot be erased or burned at the relay",
        29: "two commits at once: one winner everywhere, the loser's intent applied once",
        30: "the Welcome of a commit that lost is refused",
        31: "a fork converges by adding the victim again, nothing silently lost",
        32: "an add, removal or renaming without the right to is rejected by every client",
        33: "a Welcome before its commit, or twice, does no harm",
        34: "the same display name as another member's is flagged",
        35: "10,000 proposals or a jump of generations cost bounded CPU and memory",
        36: "drained KeyPackages of an address card: limited, warned, contacts unaffected",
        37: "past epochs cannot be decrypted, their secrets are gone from the disk",
        38: "edit, recall or timer on another's message is ignored",
        39: "receipts for another's leaf, beyond what was sent, or going back are ignored",
        40: "probing from outside the roster gets no automatic reply, from inside a limited one",
    },
    "A network observer": {
        41: "10,000 captured messages show only declared sizes",
        42: "commits and Welcomes for 2 to 256 members show only their bucket",
        43: "sending, reading and confirming look the same: one 512-byte entry",
        44: "with its proxy down nothing leaves, not even a DNS question",
        45: "per-channel SOCKS credentials give separate circuits and no TLS resumption across",
        46: "TLS interception with a public authority's certificate is refused",
    },
    "The searched house": {
        47: "files of a powered-off device show no SQLite header, text or key",
        48: "an empty, misspelt or badly encoded key, ATTACH or a backup refuse to start",
        49: "expired messages are gone from pages, freelist, WAL and index, passphrase or not",
        50: "attachments, thumbnails, caches and notifications are gone after expiry",
        51: "a locked app's memory holds no keys, as far as Python allows; remnants are listed",
        52: "every wrong passphrase costs a full Argon2id, there is no faster oracle",
        53: "a weakened KDF header is rejected",
        54: "a panic wipe killed midway has destroyed the key already",
        55: "a clock set back a year extends no timer",
        56: "a clock set forward: bounded, and stated",
        57: "a flipped, cut or swapped backup fails as a whole",
        58: "a restored old profile may not send until it has joined again",
        59: "a device removed elsewhere reads no new era; everybody sees the removal",
        60: "a linking code disguised as an invite: another scheme, a confirmation, a notice",
    },
    "Content and the local web app": {
        61: "markup and script in names, texts, file names and quotes stay inert",
        62: "a foreign Host (DNS rebinding) is refused",
        63: "cross-origin requests and WebSockets are refused",
        64: "the token is in no query, Referer, history, argument or log",
        65: "another local user can neither read the token nor reach the API",
        66: "SVG, HTML and PDF attachments are only downloaded",
        67: "decompression bombs are capped in the decoder's process",
        68: "path tricks in file names end in a generated name",
        69: "a type that disagrees with its extension is warned of",
        70: "attachment chunks swapped, cut or reordered are refused, nothing is shown",
        71: "an attachment pointing elsewhere reaches nothing but the conversation's relay",
        72: "a URL in a message causes no traffic",
        73: "bidi, zero-width, filler and confusable characters in text and names are escaped and flagged",
        74: "notifications show no content by default",
        75: "a link scanner does not consume an invite; a second use fails and is seen",
    },
    "Abuse and surge": {
        76: "slow, partial and idle connections meet caps and deadlines",
        77: "a stalled subscriber costs bounded memory and resumes by cursor",
        78: "a replayed access pass or proof of work is refused",
        79: "a 40-fold surge loses nothing acknowledged and keeps its delays",
        80: "a full disk refuses before it acknowledges",
    },
    "Faults": {
        81: "killed at any statement or write: what was acknowledged is shown, once; no key and nonce used twice",
        82: "a lost fsync or power cut loses nothing acknowledged",
        83: "ENOSPC, EIO and SQLITE_BUSY anywhere roll back and leave no torn group",
        84: "two engines on one profile: the second goes through the first or refuses",
        85: "three NATS nodes killed, paused, cut off or corrupted: outboxes restore everything",
        86: "offline beyond the retention: a gap, then everything again or a rejoin",
    },
    "Supply chain": {
        87: "a tampered wheel fails the hash-locked install; bill of materials, cargo-deny and pip-audit",
        88: "coverage-guided fuzzing of every parser ends in no panic or abort",
    },
}


def named() -> dict[int, list[str]]:
    """Which files name which case, paths from the root."""
    found: dict[int, list[str]] = {}
    for path in _tests():
        for number in sorted(set(CASE.findall((ROOT / path).read_text()))):
            found.setdefault(int(number), []).append(path)
    return found


def _tests() -> list[str]:
    """Files under version control (`git add` a new test first); in a source archive, all."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    known = set(listed.stdout.split("\0")) if listed.returncode == 0 else None
    found = {path.relative_to(ROOT).as_posix() for pattern in SOURCES for path in ROOT.glob(pattern)}
    return sorted(path for path in found if (path in known if known is not None else "node_modules" not in path))


def table() -> Iterator[str]:
    """The lines between the marks."""
    tested = named()
    cases = {number for section in SECTIONS.values() for number in section}
    yield f"{len(cases & tested.keys())} of {len(cases)} cases are named by at least one test.\n"
    for letter, (title, section) in zip("ABCDEFGHI", SECTIONS.items(), strict=True):
        yield f"\n### {letter}. {title}\n\n| | case | tested in |\n|---|---|---|\n"
        for number, line in section.items():
            links = [f"[{path.removeprefix('tests/')}](../{path})" for path in tested.get(number, [])]
            yield f"| T-{number:03} | {line} | {', '.join(links) or '–'} |\n"


def rewritten(document: str) -> str:
    """The document with a current table."""
    before, rest = document.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + "".join(table()) + END + after


if __name__ == "__main__":
    current = DOCUMENT.read_text()
    new = rewritten(current)
    if "--check" in sys.argv[1:]:
        if new != current:
            sys.exit("spec/threat-model.md is not current: run make threat-table")
    else:
        DOCUMENT.write_text(new)
