"""The vectors are what their script makes, and the product says of each what SPEC.md says."""

import hashlib
import json
from typing import Any

import dag_cbor
import pytest
from nacl.signing import SigningKey as NaclKey

from coterie_protocols.clock import Clock, NoHeaders
from coterie_protocols.encoding import Cid
from coterie_protocols.errors import BadMessage
from coterie_protocols.event import decode_event_untrusted
from coterie_protocols.invite import token_from_text_untrusted
from coterie_protocols.messages import (
    decode_frame_untrusted,
    decode_request_untrusted,
    encode_message,
    encode_request,
)
from coterie_protocols.op_writing import certificate_to_value
from protocols.generate_vectors import DIRECTORY, files
from protocols.histories import Observer
from protocols.naive import Naive


def load(name: str) -> Any:
    """One file."""
    return json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))


EVENTS, MESSAGES, INVITES, DIGESTS = map(load, ("events", "messages", "invites", "digests"))


@pytest.mark.parametrize(("name", "text"), files().items())
def test_the_files_are_what_their_script_makes(name: str, text: str) -> None:
    assert (DIRECTORY / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("vector", EVENTS["good"], ids=lambda vector: vector["cid"][-6:])
def test_good_events(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    event = decode_event_untrusted(data)
    header = event.header
    assert (event.cid, header.author, header.seq) == (vector["cid"], vector["author"], vector["seq"])
    assert (header.prev, list(header.parents), header.lamport) == (vector["prev"], vector["parents"], vector["lamport"])
    assert [type(op).__name__.lower() for op in event.ops] == vector["ops"]
    # and once more by the words of SPEC.md, with another codec and signer
    body = dag_cbor.decode(data)
    assert isinstance(body, dict)
    signature = body.pop("signature")
    signed = dag_cbor.encode(body)
    tail = bytes.fromhex("69 7369676e6174757265 5840")
    seed = bytes.fromhex(EVENTS["seeds"][vector["author"]])
    assert NaclKey(seed).sign(b"coterie/event/1\n" + signed).signature == signature
    assert bytes([signed[0] + 1]) + signed[1:] + tail + signature == data  # type: ignore[operator]


@pytest.mark.parametrize("data", EVENTS["bad"].values(), ids=EVENTS["bad"])
def test_bad_events(data: str) -> None:
    with pytest.raises(BadMessage):
        decode_event_untrusted(bytes.fromhex(data))


def test_messages() -> None:
    for kind, data in MESSAGES["frames"].items():
        raw = bytes.fromhex(data)
        assert encode_message(decode_frame_untrusted(raw)) == raw
        value = dag_cbor.decode(raw)
        assert isinstance(value, dict)
        assert value["kind"] == kind
    for data in MESSAGES["requests"].values():
        raw = bytes.fromhex(data)
        assert encode_request(decode_request_untrusted(raw)) == raw
    for data in MESSAGES["bad frames"].values():
        with pytest.raises(BadMessage):
            decode_frame_untrusted(bytes.fromhex(data))


def test_invites() -> None:
    token = token_from_text_untrusted(INVITES["token"])
    assert certificate_to_value(token.certificate) == INVITES["certificate"]
    genesis = decode_event_untrusted(bytes.fromhex(INVITES["genesis"]))
    clock = Clock(genesis.cid, NoHeaders())
    clock.insert(genesis)
    good = decode_event_untrusted(bytes.fromhex(INVITES["good"]))
    assert clock.insert(good) == [good]
    for data in INVITES["bad"].values():
        with pytest.raises(BadMessage):
            clock.insert(decode_event_untrusted(bytes.fromhex(data)))


def test_digests() -> None:
    observer = Observer(Cid(DIGESTS["coterie"]))
    for step in DIGESTS["steps"]:
        event = decode_event_untrusted(bytes.fromhex(step["bytes"]))
        assert observer.receive(event) == 1
        assert (observer.clock.fingerprint.hex(), observer.state.digest()) == (step["set"], step["digest"])
    model = Naive(observer.inserted)
    assert {peer: sorted(roles) for peer, roles in model.roles.items()} == DIGESTS["members"]
    assert [head.cid for head in observer.clock.heads] == DIGESTS["heads"]
    assert set(model.runs()) == set(DIGESTS["runs"])
    for name, tasks in DIGESTS["runs"].items():
        for task, said in tasks.items():
            run = model.run(name)
            phase, attempt, claim, result, _, _ = run.verdict(task)
            assert (phase, attempt, claim, result) == (said["phase"], said["attempt"], said["claim"], said["result"])
            assert (run.status(task), run.ready(task)) == (said["status"], said["ready"])


def test_the_digest_by_the_words_of_the_specification() -> None:
    observer = Observer(Cid(DIGESTS["coterie"]))
    observer.receive_all([decode_event_untrusted(bytes.fromhex(step["bytes"])) for step in DIGESTS["steps"]])
    model = Naive(observer.inserted)
    entries = {
        peer: min(
            (e for e in observer.inserted if e.header.prev is None and e.header.author == peer),
            key=lambda e: (e.header.lamport, e.cid),
        ).cid
        for peer in model.roles
    }
    members = [[peer, entries[peer], sorted(roles)] for peer, roles in sorted(model.roles.items())]
    hasher = hashlib.sha256(dag_cbor.encode(members))  # type: ignore[arg-type]
    for name in sorted(model.all_runs()):
        hasher.update(hashlib.sha256(dag_cbor.encode(model.digest_of(name))).digest())  # type: ignore[arg-type]
    assert hasher.hexdigest() == DIGESTS["steps"][-1]["digest"]
