"""Child of test_vectors.py: runs one file of passive-client vectors, prints one JSON line with the outcome of each.

Its own process, because its clock is set back (fixed_clock.c): the vectors' KeyPackages have expired.
"""

import json
import lzma
import sys
from collections.abc import Iterator

import hanatalk_mls


def outcome(vector: dict) -> str:
    def unhex(name: str) -> bytes:
        return bytes.fromhex(vector[name])

    client = hanatalk_mls.TestingPassiveClient(
        unhex("key_package"),
        init_private=unhex("init_priv"),
        encryption_private=unhex("encryption_priv"),
        psks=[(bytes.fromhex(psk["psk_id"]), bytes.fromhex(psk["psk"])) for psk in vector["external_psks"]],
    )
    tree = vector["ratchet_tree"]
    client.join(unhex("welcome"), bytes.fromhex(tree) if tree else None)
    if client.epoch_authenticator != unhex("initial_epoch_authenticator"):
        return "wrong authenticator after joining"
    for number, epoch in enumerate(vector["epochs"]):
        for proposal in epoch["proposals"]:
            if client.process(bytes.fromhex(proposal)) != "proposal":
                return "not a proposal"
        if client.process(bytes.fromhex(epoch["commit"])) != "commit":
            return "not a commit"
        if client.epoch_authenticator != bytes.fromhex(epoch["epoch_authenticator"]):
            return f"wrong authenticator after commit {number}"
        client.reload()  # from the rows the commit left behind
        if client.epoch_authenticator != bytes.fromhex(epoch["epoch_authenticator"]):
            return f"wrong authenticator after loading epoch {number}"
    return "agreed"


def outcomes(path: str) -> Iterator[dict]:
    with lzma.open(path) as file:
        vectors = json.load(file)
    for vector in vectors:
        try:
            what = outcome(vector)
        except hanatalk_mls.MlsError as error:
            what = f"{type(error).__name__}: {error}"
        yield {"suite": vector["cipher_suite"], "epochs": len(vector["epochs"]), "outcome": what}


print(json.dumps(list(outcomes(sys.argv[1]))))
