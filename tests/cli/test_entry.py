"""The contract of `hana` that needs no other process: parsing, help, languages, errors and exit codes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hanatalk.cli import entry, main
from hanatalk.errors import RefusedError
from hanatalk.words import Language, sentence


@pytest.fixture(autouse=True)
def english(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("LC_ALL", "LC_MESSAGES", "LANG", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HANA_HOME", str(tmp_path / "nobody"))


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in entry.COMMANDS:
        assert f"\n  {name} " in printed
    assert "Usage: hana" in printed


@pytest.mark.parametrize("command", [*([name] for name in entry.COMMANDS), ["relay", "serve"], ["relay", "warrant"]])
@pytest.mark.parametrize("language", list(Language))
def test_every_command_and_option_has_help_in_both_languages(
    command: list[str], language: Language, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--lang", language.value, *command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert "cli." not in printed  # a key that the catalogue does not have is printed as it is
    hangul = any("가" <= character <= "힣" for character in printed)
    assert hangul is (language is Language.KO)


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({"LANG": "ko_KR.UTF-8"}, Language.KO),
        ({"LANG": "en_US.UTF-8"}, Language.EN),
        ({"LANG": "en_US.UTF-8", "LC_ALL": "ko_KR.UTF-8"}, Language.KO),
        ({"LANG": "ko_KR.UTF-8", "LC_MESSAGES": "C.UTF-8"}, Language.EN),
        ({"LANG": "", "LC_ALL": ""}, Language.EN),
    ],
)
def test_the_locale_chooses_the_language(
    environment: dict[str, str],
    language: Language,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["--help"]) == 0
    assert sentence(language, "cli.help.usage") in capsys.readouterr().out


USAGE = [
    ([], "usage.command-missing"),
    (["nonsense"], "usage.command-unknown"),
    (["relay"], "usage.command-missing"),
    (["relay", "nonsense"], "usage.command-unknown"),
    (["chats", "--nonsense"], "usage.option-unknown"),
    (["--nonsense"], "usage.option-unknown"),
    (["send"], "usage.missing"),
    (["send", "민지"], "usage.missing"),
    (["send", "민지", "two", "words"], "usage.extra"),
    (["init", "--name"], "usage.option-value"),
    (["init", "--name", "민지"], "usage.missing"),
    (["sync", "--wait", "soon"], "usage.value"),
    (["sync", "--wait", "nan"], "usage.value"),
    (["sync", "--wait", "-1"], "usage.value"),
    (["messages", "민지", "--limit", "0"], "usage.value"),
    (["messages", "민지", "--limit", "9" * 30], "usage.value"),
    (["messages", "\udcff"], "text.not-utf8"),
    (["send", "민지", "\udcff"], "text.not-utf8"),
    (["init", "--name", "x", "--relay", "ws://\udcff"], "text.not-utf8"),
    (["invite", "--expires", "soon"], "usage.duration"),
    (["invite", "--expires", "0d"], "usage.duration"),
    (["relay", "serve", "--port", "70000"], "usage.value"),
    (["--lang", "fr", "chats"], "usage.value"),
    (["wipe"], "profile.none"),
]


@pytest.mark.parametrize(("arguments", "code"), USAGE)
@pytest.mark.parametrize("language", list(Language))
def test_a_usage_error_is_json_with_json(
    arguments: list[str], code: str, language: Language, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = 1 if code == "profile.none" else 2
    assert main(["--json", "--lang", language.value, *arguments]) == expected
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    error = json.loads(line)
    assert error.keys() == {"error", "text", "hint"}
    assert error["error"] == code
    assert error["text"] != code
    assert error["hint"]
    if language is Language.KO:
        assert any("가" <= character <= "힣" for character in error["text"] + error["hint"])


@pytest.mark.parametrize(("arguments", "code"), USAGE)
def test_a_usage_error_is_prose_without_json(
    arguments: list[str], code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == (1 if code == "profile.none" else 2)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("hana: " if arguments not in ([], ["relay"]) else "Usage: ")
    assert "Traceback" not in printed.err


def test_global_options_may_follow_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["chats", "--home", str(tmp_path), "--lang", "ko", "--json"]) == 1
    error = json.loads(capsys.readouterr().err)
    assert error["error"] == "profile.none"
    assert error["text"] == sentence(Language.KO, "profile.none")


def test_a_command_without_a_profile_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--json", "chats"]) == 1
    assert "hana init" in json.loads(capsys.readouterr().err)["hint"]


def test_a_bug_is_told_in_one_line_without_its_values(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> int:
        raise ValueError("the passphrase is correct horse")

    monkeypatch.setattr(entry, "_run", broken)
    assert main(["--json", "chats"]) == 1
    error = json.loads(capsys.readouterr().err)
    assert error["error"] == "hana.bug"
    assert "ValueError" in error["text"]
    assert "horse" not in json.dumps(error)


@pytest.mark.parametrize(
    ("raised", "code"), [(KeyboardInterrupt(), 130), (RefusedError("relay.busy"), 5), (BrokenPipeError(32, "x"), 141)]
)
def test_how_it_ends(
    raised: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def ended(*_: object) -> int:
        raise raised

    monkeypatch.setattr(entry, "_run", ended)
    monkeypatch.setattr(entry.os, "dup2", lambda *_: None)
    assert main(["chats"]) == code
    printed = capfd.readouterr()
    assert (printed.err == "") is (code != 5)
    assert printed.out == ""


def hana(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in ("LC_ALL", "LC_MESSAGES", "LANG")}
    return subprocess.run(
        [sys.executable, "-m", "hanatalk.cli", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**inherited, **environment},
        timeout=30,
    )


def test_a_closed_pipe_is_quiet() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        ended = subprocess.run(
            [sys.executable, "-m", "hanatalk.cli", "--help"],
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert ended.returncode == 141
    assert ended.stderr == b""


def test_hangul_survives_a_locale_without_it() -> None:
    ended = hana("--lang", "ko", "nonsense", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str) -> None:
    ended = hana(_HANA_COMPLETE=f"{shell}_source")
    # click asks bash for its version; where there is no bash the script comes all the same
    assert "_HANA_COMPLETE" in ended.stdout


def test_completion_knows_commands_and_options() -> None:
    words = {"COMP_WORDS": "hana rel", "COMP_CWORD": "1", "_HANA_COMPLETE": "bash_complete"}
    assert "plain,relay" in hana(**words).stdout
    words = {"COMP_WORDS": "hana relay serve --po", "COMP_CWORD": "3", "_HANA_COMPLETE": "bash_complete"}
    assert "plain,--port" in hana(**words).stdout
    words = {"COMP_WORDS": "hana mess", "COMP_CWORD": "1", "_HANA_COMPLETE": "zsh_complete", "LANG": "ko_KR.UTF-8"}
    assert "보여 줘요" in hana(**words).stdout


def test_help_needs_neither_the_client_nor_the_relay() -> None:
    code = (
        "import sys; from hanatalk.cli import main; main(['--help']);"
        "slow = {'asyncio', 'msgspec', 'apsw', 'uvloop', 'picows', 'cryptography', 'segno', 'platformdirs',"
        " 'hanatalk_mls', 'hanatalk.client', 'hanatalk.relay'};"
        "print(sorted(slow & set(sys.modules)), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert ended.stderr == "[]\n"
