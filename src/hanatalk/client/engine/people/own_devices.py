"""What people ask about their own devices: linking, approving, the list, removing (HT-M-123 … HT-M-131)."""

from collections.abc import Callable

from hanatalk.client import calls
from hanatalk.client.engine.conversations import siblings
from hanatalk.client.engine.conversations.history import ALL, NONE
from hanatalk.client.engine.core import Core
from hanatalk.client.engine.formats import accounts
from hanatalk.client.engine.people import devices, linking, roll
from hanatalk.localdb.rows import Conversation


class OwnDevices:
    """Part of `Engine`. Every `now` is the device's clock, in milliseconds since 1970.

    :param at: the engine's time for it; :param follow_up: what follows when a call is durable
    """

    def __init__(self, core: Core, at: Callable[[int], int], follow_up: Callable[[int], None]) -> None:
        self._core = core
        self._at = at
        self._follow_up = follow_up

    def link(self, *, language: str, now: int) -> None:
        """Show a code to be added to an account. :raises UsageError, NetworkError: see `linking.begin`"""
        now = self._at(now)
        linking.begin(self._core, language=language, now=now)
        self._follow_up(now)

    def consent(self, *, yes: bool, now: int) -> None:
        """The person at the new device compared the words. :raises UsageError: ``link.none``"""
        now = self._at(now)
        linking.consent(self._core, yes=yes, now=now)
        self._follow_up(now)

    def approve(self, link: str, now: int, *, history: int | None = None) -> None:
        """Begin to add a device. :raises ContentError, UsageError: see `linking.approve`

        :param history: seconds of history that it is given; None: all
        """
        now = self._at(now)
        wall = self._core.clock.wall(now)
        since = ALL if history is None else max(1, wall - history * 1000) if history else NONE
        linking.approve(self._core, link, since=since, now=now)
        self._follow_up(now)

    def confirm(self, *, yes: bool, now: int) -> None:
        """The person at the approving device compared the words. :raises UsageError: ``link.none``"""
        now = self._at(now)
        linking.confirm(self._core, yes=yes, now=now)
        self._follow_up(now)

    def linking(self) -> calls.Linking:
        """Where this device is on its way into an account."""
        return roll.linking_state(self._core)

    def approving(self) -> calls.Approving:
        """Where the device is that is to be added."""
        return roll.approving_state(self._core)

    def listed(self) -> calls.DeviceList:
        """All own devices."""
        return roll.device_list(self._core)

    def remove(self, wanted: str, now: int, *, paper: bytes | None = None) -> str:
        """Returns the device's whole id.

        :param paper: seed of the account's paper device: its removal outranks what others do at the same time
        :raises UsageError: ``device.unknown``, ``name.ambiguous``, ``device.own``, ``paper.other``
        """
        now = self._at(now)
        device = devices.resolve(self._core, wanted)
        devices.remove(self._core, device, now, by=accounts.Device(paper) if paper is not None else None)
        self._follow_up(now)
        return device.hex()

    def verified(self, row: Conversation, now: int) -> None:
        """A safety number was compared here: the other own devices know it too."""
        if siblings.group(self._core) is not None:
            with self._core.transaction():
                people = {member.account for member in self._core.members(row.conversation)}
                devices.tell_contacts(self._core, people, now)
            self._follow_up(now)

    @property
    def revoked(self) -> bool:
        """This device was removed by another own one (HT-M-128)."""
        return devices.is_revoked(self._core)
