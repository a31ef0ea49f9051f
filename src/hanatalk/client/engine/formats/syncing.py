"""What the devices of one account say to each other in the account's group (HT-C-170 …). Strict MessagePack. Pure."""

from typing import Annotated

import msgspec

from hanatalk.client.engine.formats import content
from hanatalk.client.engine.formats.references import Reference
from hanatalk.errors import ContentError

PLACES_LIMIT = 1024  # in one message
PACKAGES_LIMIT = 16  # KeyPackages in one message: an entry holds that many
CONTACTS_LIMIT = 256

Sixteen = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Thirty2 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]


class Place(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """A conversation and its suite."""

    conversation: Sixteen
    suite: Annotated[int, msgspec.Meta(ge=0, lt=2**16)]


class Wanted(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=1):
    """`device` is to be added to these conversations: a KeyPackage for each, please."""

    device: Thirty2
    places: Annotated[list[Place], msgspec.Meta(max_length=PLACES_LIMIT)]


class Package(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The sender's KeyPackage for one conversation; `key` seals what a sibling tells it there (HT-M-150)."""

    conversation: Sixteen
    key_package: bytes
    key: Thirty2

    def __repr__(self) -> str:
        return "Package(…)"


class Packages(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=2):
    """Answers `Wanted`."""

    packages: Annotated[list[Package], msgspec.Meta(max_length=PACKAGES_LIMIT)]


class Contact(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """What is known of an account: its name, whether its safety number was compared, its sigchain."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=content.NAME_LIMIT)]
    verified: bool
    chain: list[bytes]


class Contacts(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=3):
    """Newly known, renamed or verified people, the own account among them."""

    contacts: Annotated[list[Contact], msgspec.Meta(max_length=CONTACTS_LIMIT)]


class Coming(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=4):
    """History is being made for `device`: so many rows are looked through; 0: none."""

    device: Thirty2
    bundle: Sixteen
    rows: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]


class Shared(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=5):
    """It lies at the first relay of the account's group, or is on its way there."""

    device: Thirty2
    bundle: Sixteen
    reference: Reference


class Taken(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=6):
    """The new device has it, or goes on without."""

    bundle: Sixteen


class Lacking(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True, tag=7):
    """The sender was asked for KeyPackages for these conversations and is still in none of them: fresh ones."""

    packages: Annotated[list[Package], msgspec.Meta(max_length=PACKAGES_LIMIT)]


Said = Wanted | Packages | Contacts | Coming | Shared | Taken | Lacking

_said = msgspec.msgpack.Decoder(Said)


def make(said: Said) -> content.Sync:
    return content.Sync(msgspec.msgpack.encode(said))


def parse(body: content.Sync) -> Said | None:
    """None: of a kind that this version does not know. :raises ContentError: ``content.malformed``"""
    try:
        parts = msgspec.msgpack.decode(body.said, type=list[msgspec.Raw])
        kind = msgspec.msgpack.decode(parts[0], type=int) if parts else 0
        if kind not in _KINDS:
            return None
        said: Said = _said.decode(body.said)
    except content.MALFORMED:
        raise ContentError("content.malformed") from None
    return said


_KINDS = frozenset(range(1, 8))
