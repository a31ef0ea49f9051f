"""Mosquitto at QoS 1: acknowledges before it stores anything."""

import re
import subprocess
from typing import ClassVar

from bench import lines
from bench.load import Pair
from bench.machine import NotMeasured, Running
from bench.peers import Kept

_CONFIG = """
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {folder}/
log_type error
max_inflight_messages 0
max_queued_messages 0
set_tcp_nodelay true
user root
"""


class Mosquitto(Kept):
    """Debian's package, run by hand from a temporary folder."""

    name: ClassVar[str] = "mosquitto"

    @staticmethod
    def version() -> str:
        try:
            said = subprocess.run(["mosquitto", "-h"], capture_output=True, text=True, timeout=20, check=False).stdout
        except OSError:
            raise NotMeasured("mosquitto is not installed") from None
        found = re.search(r"version ([\d.]+)", said)
        return f"Mosquitto {found[1] if found else '?'}"

    def start(self) -> Running:
        config = self.folder / "mosquitto.conf"
        config.write_text(_CONFIG.format(port=self.port, folder=self.folder))
        return Running(["mosquitto", "-c", config], folder=self.folder)

    async def pairs(self, count: int) -> list[Pair]:
        return await lines.mqtt_pairs(self.port, count)
