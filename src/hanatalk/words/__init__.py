"""What people read: a key and its values become a sentence in their language.

    sentence(Language.KO, "invite.used")                 -> "이미 쓴 초대예요."
    hint(Language.KO, "invite.used")                     -> "새 초대 링크를 보내 달라고 하세요."
    sentence(Language.EN, "cli.chats.unread", n=2)       -> "2 unread messages"

Errors carry keys (`hanatalk.errors`); only `cli` and `web` come here. The sentences lie beside this file as gettext
catalogues, `ko.po` and `en.po`; CONTRIBUTING.md says how to add one.
"""

from hanatalk.words.catalogue import Language, hint, sentence

__all__ = ["Language", "hint", "sentence"]
