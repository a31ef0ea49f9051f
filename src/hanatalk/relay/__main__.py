"""`python -m hanatalk.relay OPTIONS`: one relay from a JSON object, for tests and benchmarks (people: `hana relay`)."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from hanatalk.relay.options import Listening, RelayOptions
from hanatalk.relay.serve import run


def _convert(kind: type, value: Any) -> Any:
    return Path(value) if kind is Path else value


def _print(listening: Listening) -> None:
    sys.stdout.write(" ".join(filter(None, [listening.url, listening.admin])) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(msgspec.json.decode(sys.argv[1], type=RelayOptions, dec_hook=_convert), _print)
