"""What a client answers to CHALLENGE: that it knows the access pass, that it worked (HT-R-121, HT-R-122).

Both are bound to the challenge, which is made for one connection, and to the relay's key: recorded, they are worthless
on another connection and at another relay (T-078).
"""

import hashlib
import hmac


def access_proof(access_pass: bytes, *, challenge: bytes, relay_key: bytes) -> bytes:
    """That whoever made these 32 bytes knows the pass. The pass itself is never sent."""
    key = hashlib.sha256(b"hana/access/1" + access_pass).digest()
    return hmac.digest(key, b"hana/proof/1" + challenge + relay_key, "sha256")


def is_worked(nonce: int, *, challenge: bytes, relay_key: bytes, work: int) -> bool:
    """True if the nonce's hash begins with `work` zero bits. One hash, however much work it was."""
    return search(nonce, 1, challenge=challenge, relay_key=relay_key, work=work) is not None


def search(first: int, tries: int, *, challenge: bytes, relay_key: bytes, work: int) -> int | None:
    """The first nonce among `first` … `first + tries - 1` that is work enough. A try costs about a microsecond."""
    start = hashlib.sha256(b"hana/work/1" + challenge + relay_key)
    most = 1 << (256 - work)
    for nonce in range(first, first + tries):
        hashed = start.copy()
        hashed.update(nonce.to_bytes(8, "big"))
        if int.from_bytes(hashed.digest(), "big") < most:
            return nonce
    return None
