"""T-035: what a member can make the others compute is bounded, in time and in memory, through the binding."""

import resource
import time
from collections.abc import Iterator

import pytest
from fuzz.insider import APPLICATION, COMMIT
from fuzz.mutation import vector
from fuzz.targets import binding

from fuzz import material
from hanatalk import mls

CPU = 10.0  # seconds for one message, on a busy machine
MEMORY = 256 << 10  # KiB more than before
GROUPS = material.groups()
BOTH = pytest.mark.parametrize("kept", GROUPS, ids=["x-wing", "x25519"])


def _refused(kept: material.Group, message: bytes) -> mls.MlsError:
    """The message is refused within the bounds, and Minji's group goes on."""
    group = kept.load()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    with pytest.raises(mls.MlsError) as refused:
        group.process(message)
    assert time.process_time() - began < CPU
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY
    good = group.process(kept.good)
    assert isinstance(good, mls.Application)
    assert good.plaintext == b"good"
    return refused.value


@BOTH
def test_an_insider_is_heard(kept: material.Group) -> None:
    """The positive control: what is refused below is not refused for another reason."""
    heard = kept.load().process(kept.insider().message(APPLICATION, vector(b"hello"), aad=b"context", padding=9))
    assert isinstance(heard, mls.Application)
    assert (heard.plaintext, heard.aad, heard.sender) == (b"hello", b"context", 1)
    content, tail = kept.insider().opened(kept.commit, tail_length=kept.tail_length)
    staged = kept.load().process(kept.insider().message(COMMIT, content, aad=b"context", tail=tail))
    assert isinstance(staged, mls.StagedCommit)


@BOTH
@pytest.mark.parametrize("generation", [4097, 5000])
def test_t035_a_jump_of_generations_is_refused(kept: material.Group, generation: int) -> None:
    """T-035: beyond 4,096 nothing is derived."""
    message = kept.insider().message(APPLICATION, vector(b"far ahead"), generation=generation)
    assert isinstance(_refused(kept, message), mls.TooOld)


@BOTH
def test_t035_the_last_generation_is_refused_at_once(kept: material.Group) -> None:
    """T-035: the number alone decides; nobody turns a ratchet four thousand million times."""
    insider = kept.insider()
    message = insider.message(APPLICATION, vector(b"far ahead"), generation=2**32 - 1)
    assert isinstance(_refused(kept, message), mls.TooOld)


def _many(kept: material.Group) -> Iterator[bytes]:
    tag = bytes(kept.tail_length - 1)
    remove = binding.by_value(b"\x00\x03" + (0).to_bytes(4))
    psk = binding.by_value(b"\x00\x04\x01" + vector(b"psk") + vector(tag))
    yield remove * 10_000
    yield (b"\x02" + vector(tag)) * 10_000
    yield psk * 10_000
    yield binding.by_value(b"\x00\x01" + kept.key_package[4:]) * (10_000 if len(kept.key_package) < 1000 else 500)
    yield b"".join(binding.by_value(b"\x00\x03" + leaf.to_bytes(4)) for leaf in range(10_000))


@BOTH
@pytest.mark.parametrize("which", range(5))
def test_t035_ten_thousand_proposals(kept: material.Group, which: int) -> None:
    """T-035: in one commit, properly signed and encrypted (an entry has room for fewer)."""
    content = vector(list(_many(kept))[which]) + b"\0"
    tail = vector(bytes(kept.tail_length - 1))
    _refused(kept, kept.insider().message(COMMIT, content, tail=tail))


@BOTH
@pytest.mark.parametrize("kinds", ["same", "different", "nested"])
def test_t035_extensions_without_end(kept: material.Group, kinds: str) -> None:
    """T-035: thousands of GroupContext extensions, or one inside the other."""
    if kinds == "nested":
        extensions = b""
        for _ in range(2000):
            extensions = binding.POLICY.to_bytes(2) + vector(extensions)
    else:
        numbers = [binding.POLICY] * 8000 if kinds == "same" else range(0x0B00, 0x0B00 + 8000)
        extensions = b"".join(number.to_bytes(2) + vector(b"x") for number in numbers)
    content = vector(binding.by_value(b"\x00\x07" + vector(extensions))) + b"\0"
    tail = vector(bytes(kept.tail_length - 1))
    _refused(kept, kept.insider().message(COMMIT, content, tail=tail))


@BOTH
@pytest.mark.parametrize("length", [0x3FFFFFFF, 0x00FFFFFF])
def test_t035_a_length_that_is_not_there_allocates_nothing(kept: material.Group, length: int) -> None:
    """T-035: a vector that claims a thousand million bytes and has three."""
    claimed = (length | 2 << 30).to_bytes(4) + b"abc"
    for content_type in (APPLICATION, COMMIT):
        _refused(kept, kept.insider().message(content_type, claimed, tail=vector(bytes(kept.tail_length - 1))))
    for message in (kept.good[:20] + claimed, b"\x00\x01\x00\x02" + claimed):
        _refused(kept, message)
