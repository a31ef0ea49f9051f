"""What a conversation looks like in a terminal."""

from datetime import UTC

from hanatalk.cli import rendering
from hanatalk.client.calls import Chat, Found, Message

ME, THEM = "aa" * 32, "bb" * 32
WORDS = rendering.Words(
    me="나",
    recalled="(되돌린 메시지)",
    failed="전달되지 않음",
    edited="(고침)",
    once="(한 번만)",
    once_opened="(한 번만 볼 수 있는 메시지)",
    whisper="(귓속말)",
    no_text="(없음)",
    sticker="[스티커]",
)


def plain(text: str, _: str) -> str:
    return text


def message(
    text: str, *, own: bool, state: str = "delivered", unread: int = 0, at: str = "2026-05-01T06:04:00Z"
) -> Message:
    return Message(
        message="11" * 16,
        conversation="22" * 16,
        from_="민지" if own else "Jihoon",
        from_account=ME if own else THEM,
        text=text,
        sent_at=at,
        state=state,
        unread=unread,
    )


def lines(*messages: Message) -> list[str]:
    return list(rendering.history(messages, own=ME, words=WORDS, paint=plain, zone=UTC))


def test_time_name_text_and_the_1_at_an_own_message() -> None:
    assert lines(message("안녕, 들려?", own=True, unread=1)) == [
        "── 2026-05-01 ──",
        "06:04  나: 안녕, 들려? ✓✓ ¹",
    ]


def test_the_1_goes_out() -> None:
    assert lines(message("안녕", own=True, state="read", unread=0))[1] == "06:04  나: 안녕"


def test_other_peoples_messages_show_no_count() -> None:
    assert lines(message("응", own=False, state="received", unread=1))[1] == "06:04  Jihoon: 응"


def test_the_count_of_a_group_has_several_digits() -> None:
    assert lines(message("모두", own=True, unread=203))[1].endswith("✓✓ ²⁰³")


def test_every_state_has_its_mark() -> None:
    marks = {
        state: lines(message("x", own=True, state=state))[1].removeprefix("06:04  나: x")
        for state in ("queued", "stored", "delivered", "read", "failed")
    }
    assert marks == {"queued": " …", "stored": " ✓", "delivered": " ✓✓", "read": "", "failed": " ✗ 전달되지 않음"}


def test_a_date_is_printed_once_per_day_of_the_readers_time_zone() -> None:
    printed = lines(
        message("1", own=True, at="2026-05-01T23:59:00Z"),
        message("2", own=True, at="2026-05-02T00:01:00Z"),
        message("3", own=True, at="2026-05-02T00:02:00Z"),
    )
    assert [line for line in printed if line.startswith("──")] == ["── 2026-05-01 ──", "── 2026-05-02 ──"]


def test_further_lines_are_indented_so_that_nobody_can_fake_a_message() -> None:
    (_, printed) = lines(message("first\n06:05  나: I owe you", own=False))
    assert [line[:7].strip() for line in printed.split("\n")] == ["06:04", ""]


def test_t073_names_and_texts_are_escaped() -> None:
    forged = message("\x1b[2Jhi\u202e", own=False)
    assert "\x1b" not in lines(forged)[1]
    assert "\\x1b[2Jhi\\u202e" in lines(forged)[1]


def test_a_chat_is_one_line_with_its_unread_pill() -> None:
    chat = Chat(
        conversation="ab" * 16, name="Jihoon\n", kind="direct", members=2, unread=3, last="a\nb", verified=False
    )
    assert rendering.chat(chat, paint=plain) == "Jihoon\\x0a [3]  a b  abababab"


def test_colours_come_from_the_painter_only() -> None:
    coloured = rendering.message(
        message("x", own=True, unread=1), own=ME, words=WORDS, paint=lambda text, style: f"<{style}>{text}</>", zone=UTC
    )
    assert "<33>¹</>" in coloured


def test_what_a_search_found_stands_out_and_stays_one_message() -> None:
    """T-073: the text is escaped around the match too, further lines are moved in."""
    one = Found(
        message="11" * 16,
        conversation="22" * 16,
        name="모임",
        from_="Jihoon",
        from_account=THEM,
        text="어제 안녕\u202e\n12:00 민지: 안녕",
        sent_at="2026-05-01T06:04:00Z",
        matches=[(3, 5), (17, 19)],
    )

    def marked(text: str, style: str) -> str:
        return f"<{text}>" if style == rendering.YELLOW else text

    assert rendering.found(one, own=ME, me="나", paint=marked, zone=UTC) == (
        "2026-05-01 06:04  모임 · Jihoon: 어제 <안녕>\\u202e\n                    12:00 민지: <안녕>  11111111"
    )
