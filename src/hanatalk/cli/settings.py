"""What the global options and the environment say, gathered once per invocation."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hanatalk.words import Language


@dataclass(kw_only=True)
class Settings:
    """Filled in by the parser as it meets the options (they may stand before or after the command's name)."""

    home_given: Path | None
    json: bool
    language: Language
    passphrase_file: str | None = None

    @property
    def home(self) -> Path:
        """The profile folder: ``--home``, then ``HANA_HOME``, then the platform's folder for an application's files."""
        if self.home_given is not None:
            return self.home_given
        import platformdirs  # 30 ms, and --help does not need it

        return platformdirs.user_data_path("hanatalk", appauthor=False)

    @property
    def relay_data(self) -> Path:
        """Where a relay keeps its entries unless ``--data`` says otherwise."""
        import platformdirs

        return platformdirs.user_data_path("hanatalk-relay", appauthor=False)


def from_environment(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Look ahead in the arguments for what even a usage error or a help text needs: ``--json`` and ``--lang``.

    The parser stops at the first mistake, before it may have met these two.
    """
    home = environment.get("HANA_HOME")
    settings = Settings(home_given=Path(home) if home else None, json=False, language=language_of(environment))
    words = list(arguments[: arguments.index("--")] if "--" in arguments else arguments)
    for place, word in enumerate(words):
        following = words[place + 1] if place + 1 < len(words) else ""
        name, equals, value = word.partition("=")
        if word == "--json":
            settings.json = True
        elif name == "--lang" and (value if equals else following) in set(Language):
            settings.language = Language(value if equals else following)
    return settings


def language_of(environment: Mapping[str, str]) -> Language:
    """Korean where the locale is Korean, else English (POSIX order: LC_ALL, LC_MESSAGES, LANG)."""
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG"):
        locale = environment.get(variable)
        if locale:
            return Language("ko") if locale.lower().startswith("ko") else Language("en")
    return Language("en")


def coloured(stream_is_terminal: bool) -> bool:
    """https://no-color.org: any non-empty NO_COLOR turns colours off; so does a dumb terminal."""
    return stream_is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
