"""The demo: two people, one relay, this machine. Every claim is measured in the run that prints it.

A claim is a function of the stage that returns what it measured, or raises `Refuted` with it. They are carried out in
order and build on each other, but one that fails does not keep the next ones from being tried.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path

import msgspec

from hanatalk.client import calls, events, wipe_profile
from hanatalk.drill import photos, seizing
from hanatalk.drill.people import Person
from hanatalk.drill.processes import RelayProcess
from hanatalk.drill.searching import Search
from hanatalk.errors import HanaError, PeerError
from hanatalk.relay import warrant

Evidence = dict[str, str | int]
MINJI, JIHOON, THIRD = "민지", "Jihoon", "Somebody"
HELLO = "안녕, 들려?"
PHOTO, PHOTO_NAME = "집 앞에서 찍은 사진이야", "우리집-골목.jpg"
WHILE_AWAY = "릴레이가 꺼지기 전에 남긴 말"
QUEUED = "릴레이가 죽은 뒤에 쓴 말"
WAITING = ("한 글자만 바뀌어도 알 수 있을까?", "영장이 와도 읽을 수 없는 말")
CLAIM_WAIT = 30.0  # seconds that one claim may take


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One claim as the run found it. `evidence` holds what was measured."""

    claim: str
    ok: bool
    evidence: Mapping[str, str | int]


class Refuted(Exception):
    """A claim did not hold; the evidence says what was found instead."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__("refuted")
        self.evidence = evidence


class Stage:
    """What the claims share: the folder, the relay, the people, and what was found so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.relay = RelayProcess(folder / "relay", log=folder / "relay-log.txt")
        self.minji = Person(folder / "minji", name=MINJI)
        self.jihoon = Person(folder / "jihoon", name=JIHOON)
        self.third = Person(folder / "third", name=THIRD)
        self.link = ""
        self.conversation = ""
        self.waiting: list[bytes] = []  # entries of messages that the relay holds for a device that is off

    @property
    def needles(self) -> list[str]:
        """Everything that people wrote or are called."""
        return [HELLO, PHOTO, PHOTO_NAME, WHILE_AWAY, QUEUED, *WAITING, MINJI, JIHOON]

    async def close(self) -> None:
        for person in (self.minji, self.jihoon, self.third):
            with contextlib.suppress(HanaError):
                await person.leave()
            with contextlib.suppress(HanaError):
                await asyncio.to_thread(wipe_profile, person.home)  # where the key went into a keyring, it goes again
        await self.relay.stop()


Step = Callable[[Stage], Awaitable[Evidence]]


async def rehearse(folder: Path) -> AsyncIterator[Claim]:
    """Carry out the claims in `folder` (empty, ours alone), one after the other."""
    stage = Stage(folder)
    try:
        for name, step in CLAIMS.items():
            yield await _tried(name, step, stage)
    finally:
        await stage.close()


async def _tried(name: str, step: Step, stage: Stage) -> Claim:
    try:
        async with asyncio.timeout(CLAIM_WAIT):
            return Claim(claim=name, ok=True, evidence=await step(stage))
    except Refuted as refuted:
        return Claim(claim=name, ok=False, evidence=refuted.evidence)
    except HanaError as error:
        return Claim(claim=name, ok=False, evidence={"error": error.code, **error.detail})
    except TimeoutError:
        return Claim(claim=name, ok=False, evidence={"error": "timeout"})
    except Exception as error:  # noqa: BLE001 (a claim whose ground is missing has not held)
        return Claim(claim=name, ok=False, evidence={"error": type(error).__name__})


def _hold(*conditions: bool, evidence: Evidence) -> Evidence:
    if not all(conditions):
        raise Refuted(evidence)
    return evidence


async def relay_up(stage: Stage) -> Evidence:
    """A relay is one command; it listens on this machine only."""
    await stage.relay.start()
    host = stage.relay.url.removeprefix("ws://").rpartition(":")[0]
    return _hold(host == "127.0.0.1", stage.relay.running, evidence={"url": stage.relay.url})


async def two_people(stage: Stage) -> Evidence:
    """Accounts made of a name and a relay: nothing else is asked, and the relay does not hear of them."""
    made = [person.sign_up(stage.relay.url) for person in (stage.minji, stage.jihoon, stage.third)]
    held = len(seizing.entries(stage.relay.data))
    for person in (stage.minji, stage.jihoon):
        await person.arrive()
    evidence: Evidence = {"minji": made[0].account, "jihoon": made[1].account, "held": held}
    return _hold(made[0].account != made[1].account, held == 0, evidence=evidence)


async def invite_accepted(stage: Stage) -> Evidence:
    """An invite is a link; accepting it makes one conversation that both see."""
    invite = await stage.minji.ask(calls.Invite(), calls.InviteMade)
    stage.link = invite.invite
    accepted = await stage.jihoon.ask(calls.Accept(link=stage.link), calls.Accepted)
    stage.conversation = accepted.conversation

    async def both_see() -> bool:
        return [await _names(stage.minji), await _names(stage.jihoon)] == [[JIHOON], [MINJI]]

    seen = await stage.minji.until(both_see)
    chats = (await stage.minji.ask(calls.Chats(), calls.ChatList)).chats
    same = [chat.conversation for chat in chats] == [stage.conversation]
    return _hold(seen, same, evidence={"conversation": stage.conversation, "scheme": stage.link.partition(":")[0]})


async def safety_number(stage: Stage) -> Evidence:
    """Both people are shown the same 60 digits."""
    call = calls.Verify(conversation=stage.conversation)
    shown = [(await person.ask(call, calls.Safety)).safety_number for person in (stage.minji, stage.jihoon)]
    digits = sum(character.isdigit() for character in shown[0])
    return _hold(shown[0] == shown[1], digits == 60, evidence={"minji": shown[0], "jihoon": shown[1]})


async def message_arrives(stage: Stage) -> Evidence:
    """The text arrives as it was written, under the writer's name."""
    began = asyncio.get_running_loop().time()
    sent = await stage.minji.send(stage.conversation, HELLO)

    async def there() -> bool:
        return await stage.jihoon.message(stage.conversation, sent.message) is not None

    arrived = await stage.jihoon.until(there)
    took = round((asyncio.get_running_loop().time() - began) * 1000)
    message = await stage.jihoon.message(stage.conversation, sent.message)
    if not arrived or message is None:
        raise Refuted({"text": "", "state": sent.state})
    evidence: Evidence = {"text": message.text, "from": message.from_, "milliseconds": took}
    return _hold(message.text == HELLO, message.from_ == MINJI, evidence=evidence)


async def the_one_goes_out(stage: Stage) -> Evidence:
    """The 1 stays while the message is only delivered, and goes out when it is read."""
    first = (await stage.minji.messages(stage.conversation))[0]

    async def state_is(state: str) -> bool:
        found = await stage.minji.message(stage.conversation, first.message)
        return found is not None and found.state == state

    await stage.minji.until(lambda: state_is("delivered"))
    before = await stage.minji.message(stage.conversation, first.message)
    await stage.jihoon.ask(calls.Read(conversation=stage.conversation), calls.ReadDone)
    await stage.minji.until(lambda: state_is("read"))
    after = await stage.minji.message(stage.conversation, first.message)
    assert before is not None
    assert after is not None
    evidence: Evidence = {
        "unread_before": before.unread,
        "state_before": before.state,
        "unread_after": after.unread,
        "state_after": after.state,
    }
    return _hold(
        (before.state, before.unread) == ("delivered", 1), (after.state, after.unread) == ("read", 0), evidence=evidence
    )


async def photo_without_place(stage: Stage) -> Evidence:
    """A photo of 2 MB goes and arrives with its progress told; where it was taken stays at home."""
    path = stage.folder / PHOTO_NAME
    path.write_bytes(photos.with_place())
    minji, jihoon = stage.minji, stage.jihoon
    before = {person: person.saw(events.AttachmentProgress) for person in (minji, jihoon)}
    attached = await minji.ask(calls.Attach(path=str(path)), calls.Attached)
    call = calls.Send(conversation=stage.conversation, text=PHOTO, attachments=[attached.attachment])
    sent = await minji.ask(call, calls.Sent)

    async def arrived() -> bool:
        return await jihoon.message(stage.conversation, sent.message) is not None

    await jihoon.until(arrived)
    fetched = await jihoon.ask(calls.Fetch(message=sent.message, wait=15), calls.Transfer)
    saved = await jihoon.ask(calls.Save(message=sent.message, folder=str(stage.folder / "saved")), calls.SavedList)
    content = await asyncio.to_thread(Path(saved.files[0].file).read_bytes)
    steps = {person: person.saw(events.AttachmentProgress) - before[person] for person in (minji, jihoon)}
    evidence: Evidence = {
        "bytes_taken": path.stat().st_size,
        "bytes_sent": attached.size,
        "bytes_saved": len(content),
        "steps_up": steps[minji],
        "steps_down": steps[jihoon],
        "place_before": int(photos.has_place(path.read_bytes())),
        "place_after": int(photos.has_place(content)),
    }
    return _hold(
        photos.has_place(path.read_bytes()) and not photos.has_place(content),
        (fetched.state, len(content)) == ("here", attached.size),
        min(steps.values()) > 1,
        evidence=evidence,
    )


async def used_invite_refused(stage: Stage) -> Evidence:
    """A second person with the same link gets nowhere, and the inviter hears of it."""
    await stage.third.arrive()
    try:
        await stage.third.ask(calls.Accept(link=stage.link), calls.Accepted)
    except PeerError as error:
        code = error.code
    else:
        raise Refuted({"error": "accepted"})
    finally:
        await stage.third.leave()
    # the relay tells the count of refused attempts when the channel is opened: at the inviter's next connection
    await stage.minji.leave()
    await stage.minji.arrive()

    async def noticed() -> bool:
        return stage.minji.saw(events.InviteRefused) > 0

    told = await stage.minji.until(noticed)
    return _hold(code == "invite.used", told, evidence={"error": code, "inviter_told": int(told)})


async def relay_killed(stage: Stage) -> Evidence:
    """kill -9 under a queued message: what was stored and what was queued arrive, once each and in order."""
    minji, jihoon, conversation = stage.minji, stage.jihoon, stage.conversation
    await jihoon.sync()
    await jihoon.leave()
    stored = await minji.send(conversation, WHILE_AWAY)
    await stage.relay.kill()
    queued = await minji.send(conversation, QUEUED, wait=0.5)
    await stage.relay.start()

    async def published() -> bool:
        found = await minji.message(conversation, queued.message)
        return found is not None and found.state == "stored"

    await minji.until(published)
    await jihoon.arrive()

    async def both_there() -> bool:
        return {WHILE_AWAY, QUEUED} <= set(await jihoon.texts(conversation))

    await jihoon.until(both_there)
    await jihoon.sync()
    texts = await jihoon.texts(conversation)
    evidence: Evidence = {
        "stored": stored.state,
        "queued": queued.state,
        "copies_of_stored": texts.count(WHILE_AWAY),
        "copies_of_queued": texts.count(QUEUED),
    }
    return _hold(
        (stored.state, queued.state) == ("stored", "queued"),
        texts[-2:] == [WHILE_AWAY, QUEUED],
        len(texts) == len(set(texts)),
        evidence=evidence,
    )


async def what_the_relay_saw(stage: Stage) -> Evidence:
    """Two messages wait for a device that is off: the relay holds opaque entries of a few declared sizes."""
    await stage.jihoon.leave()
    before = set(seizing.entries(stage.relay.data))
    for text in WAITING:
        await stage.minji.send(stage.conversation, text)
    stage.waiting = [entry for entry in seizing.entries(stage.relay.data) if entry not in before]
    report = warrant.report(stage.relay.data)
    sizes = {held.size for held in report.entries}
    waiting = sum(held.count for held in report.entries if held.entry_class == "message")
    evidence: Evidence = {
        "entries": sum(held.count for held in report.entries),
        "waiting": waiting,
        "channels": len(report.channels),
        "sizes": ", ".join(str(size) for size in sorted(sizes)),
        "bytes": report.total,
    }
    return _hold(sizes <= seizing.ENTRY_SIZES, waiting >= len(WAITING) == len(stage.waiting), evidence=evidence)


async def nothing_in_the_relay(stage: Stage) -> Evidence:
    """No text and no name in the relay's files and log, nor in its store when opened with its own key."""
    search = Search(stage.needles)
    rows = seizing.relay_rows(stage.relay.data)
    found = search.files(stage.relay.data) + search.content(rows, place="store, opened")
    found += search.content(stage.relay.log.read_bytes(), place="log")
    size = sum(path.stat().st_size for path in stage.relay.data.rglob("*") if path.is_file())
    evidence: Evidence = {
        "hits": len(found),
        "needles": len(stage.needles),
        "forms": len(search.patterns),
        "bytes": size,
        "opened_bytes": len(rows),
    }
    return _hold(not found, len(rows) > 1_024, evidence=evidence)


async def found_in_the_profile(stage: Stage) -> Evidence:
    """The positive control: the same search finds every one of them in a profile opened with its key."""
    rows = seizing.profile_rows(stage.minji.home)
    found = {hit.needle for hit in Search(stage.needles).content(rows, place="profile, opened")}
    return _hold(found == set(stage.needles), evidence={"found": len(found), "needles": len(stage.needles)})


async def nothing_in_locked_profiles(stage: Stage) -> Evidence:
    """At rest both profiles are noise: no text, no name, no SQLite header in any file."""
    search = Search([*stage.needles, "SQLite format 3"])
    folders = (stage.minji.home, stage.jihoon.home)
    found = [hit for folder in folders for hit in search.files(folder)]
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    return _hold(not found, size > 1_024, evidence={"hits": len(found), "bytes": size})


async def flipped_byte_refused(stage: Stage) -> Evidence:
    """The relay changes one bit of a waiting entry: refused and shown, and the message comes again by itself."""
    await stage.relay.stop()
    seizing.flip_byte(stage.relay.data, stage.waiting[0], offset=200)
    await stage.relay.start()
    before = stage.jihoon.saw(events.EntryDamaged)
    await stage.jihoon.arrive()

    async def all_there() -> bool:
        return set(WAITING) <= set(await stage.jihoon.texts(stage.conversation))

    await stage.jihoon.until(all_there)
    texts = await stage.jihoon.texts(stage.conversation)
    damaged = stage.jihoon.saw(events.EntryDamaged) - before
    evidence: Evidence = {
        "refused": damaged,
        "gaps": stage.jihoon.saw(events.GapFound),
        "copies": sum(texts.count(text) for text in WAITING),
    }
    return _hold(damaged == 1, all(texts.count(text) == 1 for text in WAITING), evidence=evidence)


async def _names(person: Person) -> list[str]:
    return [chat.name for chat in (await person.ask(calls.Chats(), calls.ChatList)).chats]


CLAIMS: Mapping[str, Step] = {
    "relay-up": relay_up,
    "two-people": two_people,
    "invite-accepted": invite_accepted,
    "safety-number": safety_number,
    "message-arrives": message_arrives,
    "the-one-goes-out": the_one_goes_out,
    "photo-without-place": photo_without_place,
    "used-invite-refused": used_invite_refused,
    "relay-killed": relay_killed,
    "what-the-relay-saw": what_the_relay_saw,
    "nothing-in-the-relay": nothing_in_the_relay,
    "found-in-the-profile": found_in_the_profile,
    "nothing-in-locked-profiles": nothing_in_locked_profiles,
    "flipped-byte-refused": flipped_byte_refused,
}
