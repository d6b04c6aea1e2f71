"""An envelope is exactly what one trusted runner signed, byte for byte; anything else is refused."""

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import example, given
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner

from tfops.dsse import (
    MAX_ENVELOPE_BYTES,
    PAYLOAD_TYPE,
    public_key,
    sign,
    unique_members,
    unverified_payload,
    verify,
)
from tfops.errors import Exit, VerificationError

OURS = Ed25519PrivateKey.from_private_bytes(b"1" * 32)
THEIRS = Ed25519PrivateKey.from_private_bytes(b"2" * 32)
PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"stack":"prod/app"}}'


def pem(private) -> bytes:
    layout = serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(serialization.Encoding.PEM, layout)


def pae(payload: bytes, payload_type: bytes = PAYLOAD_TYPE.encode()) -> bytes:
    """What DSSE v1 signs, written down here a second time, as the specification has it."""
    return b" ".join([b"DSSEv1", b"%d" % len(payload_type), payload_type, b"%d" % len(payload), payload])


KEYS = {"ci": public_key(pem(OURS))}
ENVELOPE = sign(PAYLOAD, CryptoSigner(OURS))


def altered(**members: object) -> bytes:
    """The envelope with other members, in the very form in which tfops writes one."""
    return written({**json.loads(ENVELOPE), **members})


def written(document: object) -> bytes:
    return json.dumps(document, indent=1).encode() + b"\n"


def signature_of(data: bytes) -> bytes:
    return base64.b64decode(json.loads(data)["signatures"][0]["sig"])


def refusal(data: bytes, keys=KEYS) -> str:
    with pytest.raises(VerificationError) as refused:
        verify(data, keys, what="statement.json")
    assert refused.value.exit_code is Exit.UNVERIFIED
    (problem,) = refused.value.problems
    assert "statement.json" in problem.message
    assert problem.hint
    return problem.code


def test_what_was_signed_comes_back_with_its_signer_and_its_id():
    verified = verify(ENVELOPE, {"other": public_key(pem(THEIRS)), **KEYS}, what="it")
    assert (verified.payload, verified.signer) == (PAYLOAD, "ci")
    assert verified.id == hashlib.sha256(PAYLOAD).hexdigest()


@given(st.binary(max_size=300))
def test_any_payload_survives_the_way_through_an_envelope(payload):
    assert verify(sign(payload, CryptoSigner(OURS)), KEYS, what="it").payload == payload


@given(st.binary(max_size=300))
def test_the_signature_is_over_the_pae_as_another_library_computes_it(payload):
    OURS.public_key().verify(signature_of(sign(payload, CryptoSigner(OURS))), pae(payload))


@given(st.binary(max_size=100))
def test_an_envelope_signed_by_another_program_is_accepted_in_our_form(payload):
    signature = {"keyid": KEYS["ci"].keyid, "sig": base64.b64encode(OURS.sign(pae(payload))).decode()}
    encoded = base64.b64encode(payload).decode()
    envelope = written({"payload": encoded, "payloadType": PAYLOAD_TYPE, "signatures": [signature]})
    assert verify(envelope, KEYS, what="it").payload == payload


def test_a_signature_over_the_bare_payload_is_not_one_over_the_envelope():
    sig = base64.b64encode(OURS.sign(PAYLOAD)).decode()
    assert refusal(altered(signatures=[{"keyid": KEYS["ci"].keyid, "sig": sig}])) == "verify.signature"


def test_a_signature_for_another_payload_type_does_not_count():
    sig = base64.b64encode(OURS.sign(pae(PAYLOAD, b"text/plain"))).decode()
    assert refusal(altered(signatures=[{"keyid": KEYS["ci"].keyid, "sig": sig}])) == "verify.signature"


@given(st.integers(0, len(ENVELOPE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_refused(position, difference):
    changed = bytearray(ENVELOPE)
    changed[position] ^= difference
    refusal(bytes(changed))


def test_every_single_bit_counts():
    for position in range(len(ENVELOPE)):
        for bit in range(8):
            changed = bytearray(ENVELOPE)
            changed[position] ^= 1 << bit
            with pytest.raises(VerificationError):
                verify(bytes(changed), KEYS, what="it")


@given(st.integers(0, len(ENVELOPE)), st.binary(min_size=1, max_size=3))
@example(len(ENVELOPE), b"\n")
@example(0, b" ")
@example(0, b"\xef\xbb\xbf")
def test_any_inserted_byte_is_refused(position, more):
    refusal(ENVELOPE[:position] + more + ENVELOPE[position:])


@given(st.integers(0, len(ENVELOPE) - 1), st.integers(1, 20))
def test_any_missing_byte_is_refused(position, length):
    refusal(ENVELOPE[:position] + ENVELOPE[position + length :])


def test_slack_bits_of_base64_carry_no_second_form_of_the_same_signature():
    # 64 bytes end in "==": the last letter before it has four bits that decode to nothing.
    sig = json.loads(ENVELOPE)["signatures"][0]["sig"]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    slack = sig[:-3] + letters[letters.index(sig[-3]) ^ 1] + "=="
    assert base64.b64decode(slack) == base64.b64decode(sig)
    assert refusal(altered(signatures=[{"keyid": KEYS["ci"].keyid, "sig": slack}])) == "verify.envelope"


@pytest.mark.parametrize("form", [json.dumps, lambda it: json.dumps(it, indent=2), lambda it: json.dumps(it, indent=1)])
def test_the_same_members_in_other_white_space_are_refused(form):
    assert refusal(form(json.loads(ENVELOPE)).encode()) == "verify.envelope"


def test_members_in_another_order_are_refused():
    document = json.loads(ENVELOPE)
    assert refusal(written(dict(reversed(document.items())))) == "verify.envelope"
    (signature,) = document["signatures"]
    assert refusal(altered(signatures=[dict(reversed(signature.items()))])) == "verify.envelope"


@pytest.mark.parametrize("member", ["payload", "payloadType", "signatures", "keyid", "sig"])
def test_a_member_that_stands_twice_is_refused(member):
    name = f'"{member}"'.encode()
    assert ENVELOPE.count(name) == 1
    assert refusal(ENVELOPE.replace(name, b'"%b": "x",\n %b' % (member.encode(), name))) == "verify.envelope"


def test_members_may_not_repeat_however_they_are_spelled():
    assert refusal(ENVELOPE.replace(b'"payload"', b'"p\\u0061yload": "eA==",\n "payload"')) == "verify.envelope"
    with pytest.raises(ValueError, match="twice"):
        json.loads('{"a": 1, "\\u0061": 2}', object_pairs_hook=unique_members)


@pytest.mark.parametrize(
    "signatures",
    [
        [],
        json.loads(ENVELOPE)["signatures"] * 2,
        {},
        {"keyid": "x"},
        "x",
        None,
        7,
        [None],
        ["keyid"],
        [["keyid", "sig"]],
        [{}],
        [{"keyid": KEYS["ci"].keyid}],
        [{**json.loads(ENVELOPE)["signatures"][0], "more": 1}],
        [{"keyid": None, "sig": ""}],
        [{"keyid": ["x"], "sig": ""}],
        [{"keyid": KEYS["ci"].keyid, "sig": None}],
        [{"keyid": KEYS["ci"].keyid, "sig": "not base64"}],
    ],
    ids=repr,
)
def test_anything_but_one_complete_signature_is_refused(signatures):
    assert refusal(altered(signatures=signatures)) == "verify.envelope"


@pytest.mark.parametrize("payload_type", ["text/plain", "", None, [PAYLOAD_TYPE], PAYLOAD_TYPE.upper()], ids=repr)
def test_another_payload_type_is_refused(payload_type):
    assert refusal(altered(payloadType=payload_type)) == "verify.envelope"


@pytest.mark.parametrize("payload", [None, 1, [], {}, "ä", "a", "====", base64.urlsafe_b64encode(b"\xff\xfe").decode()])
def test_a_payload_that_is_no_base64_is_refused(payload):
    assert refusal(altered(payload=payload)) == "verify.envelope"


def test_a_member_nobody_knows_is_refused():
    assert refusal(altered(comment="harmless")) == "verify.envelope"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"7",
        b'"payload"',
        b"\xff\xfe",
        b'["payload", "payloadType", "signatures"]',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"payload": ' + b"9" * 5000 + b"}",
        b"NaN",
    ],
    ids=lambda data: repr(data[:24]),
)
def test_what_is_no_envelope_at_all_is_refused(data):
    assert refusal(data) == "verify.envelope"


@given(st.binary(max_size=200))
def test_no_bytes_whatsoever_do_more_than_be_refused(data):
    assert refusal(data) == "verify.envelope"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["payload", "payloadType", "signatures"]), inner)
        ),
    )
)
def test_no_json_whatsoever_does_more_than_be_refused(document):
    refusal(json.dumps(document).encode())


def test_an_envelope_beyond_the_limit_is_refused_before_it_is_read():
    largest = sign(b"x" * (MAX_ENVELOPE_BYTES * 3 // 4), CryptoSigner(OURS))
    assert len(largest) > MAX_ENVELOPE_BYTES
    assert refusal(largest) == "verify.envelope"


def test_an_envelope_below_the_limit_is_not_too_large():
    payload = b"x" * (MAX_ENVELOPE_BYTES * 3 // 4 - 400)
    assert verify(sign(payload, CryptoSigner(OURS)), KEYS, what="it").payload == payload


def test_a_signer_whom_nobody_trusts_is_refused_and_the_trusted_ones_are_named():
    with pytest.raises(VerificationError) as refused:
        verify(sign(PAYLOAD, CryptoSigner(THEIRS)), {"zoe": KEYS["ci"], "ci": KEYS["ci"]}, what="it")
    (problem,) = refused.value.problems
    assert problem.code == "verify.unknown_key"
    assert "ci, zoe" in problem.hint


def test_without_any_trusted_key_nothing_is_accepted():
    assert refusal(ENVELOPE, {}) == "verify.unknown_key"


def test_a_trusted_keyid_does_not_lend_itself_to_another_signature():
    foreign = json.loads(sign(PAYLOAD, CryptoSigner(THEIRS)))["signatures"][0]["sig"]
    assert refusal(altered(signatures=[{"keyid": KEYS["ci"].keyid, "sig": foreign}])) == "verify.signature"


def test_a_good_signature_under_an_unknown_keyid_is_not_tried_against_every_key():
    sig = json.loads(ENVELOPE)["signatures"][0]["sig"]
    for keyid in ("", "0" * 64, KEYS["ci"].keyid.upper(), KEYS["ci"].keyid[:63], "\ud800"):
        assert refusal(altered(signatures=[{"keyid": keyid, "sig": sig}])) == "verify.unknown_key"


@pytest.mark.parametrize("sig", [b"", b"x", b"\0" * 64, b"\0" * 63, b"\0" * 65])
def test_a_signature_of_any_length_but_the_right_one_is_refused(sig):
    encoded = base64.b64encode(sig).decode()
    assert refusal(altered(signatures=[{"keyid": KEYS["ci"].keyid, "sig": encoded}])) == "verify.signature"


def test_a_payload_taken_from_another_envelope_is_refused():
    other = json.loads(sign(b'{"stack":"prod/db"}', CryptoSigner(OURS)))
    assert refusal(altered(payload=other["payload"])) == "verify.signature"


def test_other_kinds_of_keys_sign_too_and_another_library_agrees():
    curve = ec.generate_private_key(ec.SECP256R1())
    modulus = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    for private in (curve, modulus):
        envelope = sign(PAYLOAD, CryptoSigner(private))
        assert verify(envelope, {"ci": public_key(pem(private))}, what="it").payload == PAYLOAD
    curve.public_key().verify(signature_of(sign(PAYLOAD, CryptoSigner(curve))), pae(PAYLOAD), ec.ECDSA(SHA256()))
    pss = padding.PSS(padding.MGF1(SHA256()), padding.PSS.DIGEST_LENGTH)
    modulus.public_key().verify(signature_of(sign(PAYLOAD, CryptoSigner(modulus))), pae(PAYLOAD), pss, SHA256())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"ssh-ed25519 AAAA",
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        pem(x25519.X25519PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP256K1())),
    ],
)
def test_what_is_no_public_key_that_can_verify_is_a_value_error(data):
    with pytest.raises(ValueError, match=r".+"):
        public_key(data)


def test_a_keyid_is_derived_from_the_key_and_nothing_else():
    assert public_key(pem(OURS)).keyid == public_key(b"a comment\n" + pem(OURS)).keyid
    assert public_key(pem(OURS)).keyid != public_key(pem(THEIRS)).keyid


def test_a_payload_can_be_looked_into_without_trust_but_only_in_a_whole_envelope():
    assert unverified_payload(ENVELOPE, what="it") == PAYLOAD
    with pytest.raises(VerificationError):
        unverified_payload(ENVELOPE + b" ", what="it")
