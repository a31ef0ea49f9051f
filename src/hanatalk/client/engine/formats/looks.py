"""Whether two names look the same to a person (T-034). Pure."""

import unicodedata

_INVISIBLE = frozenset("\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5")
# Cyrillic letters and digits that pass for Latin letters
_LIKE = str.maketrans("аеорсухіјԛԝѕһмвнкт0ⅼ|", "aeopcyxijqwshmbhktoll")


def same_look(name: str) -> str:
    """Names with the same key look the same: case, width, accents' spelling, blanks and invisible characters aside."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    kept = (
        character
        for character in folded
        if character not in _INVISIBLE and unicodedata.category(character)[0] not in "CZ"
    )
    return "".join(kept).translate(_LIKE)
