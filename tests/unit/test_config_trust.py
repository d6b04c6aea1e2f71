"""Who may sign and approve: every person with keys or logins of their own, and no key with two people."""

import base64
import struct
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.test_config import ENVIRONMENT, problem, problems
from tfops.config import parse_config
from tfops.config_trust import Approver
from tfops.ssh_keys import parse_ssh_key


def ssh_key(number: int, comment: str = "someone@somewhere") -> str:
    blob = b"".join(struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", bytes([number]) * 32))
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {comment}"


ONE, TWO = ssh_key(1), ssh_key(2)


def people(*blocks: str) -> str:
    return ENVIRONMENT + "trust {\n" + "\n".join(blocks) + "\n}\n"


def test_a_person_has_keys_logins_and_addresses():
    config = parse_config(
        people(
            f'approver "alice" {{\n ssh_key = "{ONE}"\n ssh_keys = ["{TWO}"]\n github = "alice"\n'
            ' gitlab = "al"\n emails = ["Alice@Example.org"]\n}'
        )
    )
    (alice,) = config.approvers
    assert alice == Approver(
        name="alice",
        ssh_keys=(parse_ssh_key(ONE).line, parse_ssh_key(TWO).line),
        logins=(("github", "alice"), ("gitlab", "al")),
        emails=("alice@example.org",),
    )
    assert [key.fingerprint for key in alice.keys] == [parse_ssh_key(key).fingerprint for key in (ONE, TWO)]


def test_a_revoked_person_has_no_keys_that_count():
    (alice,) = parse_config(people(f'approver "alice" {{\n ssh_key = "{ONE}"\n revoked = true\n}}')).approvers
    assert alice.ssh_keys
    assert alice.keys == ()


def test_a_persons_time_can_end():
    block = f'approver "alice" {{\n ssh_key = "{ONE}"\n valid_until = "2027-01-01T00:00:00Z"\n}}'
    (alice,) = parse_config(people(block)).approvers
    end = datetime(2027, 1, 1, tzinfo=UTC)
    assert alice.valid_until == end
    assert alice.at(end).keys
    after = alice.at(end + timedelta(seconds=1))
    assert (after.is_revoked, after.keys) == (True, ())


@pytest.mark.parametrize("written", ["tomorrow", "2027-01-01T00:00:00", "2027-13-01T00:00:00Z"])
def test_a_moment_without_a_zone_or_a_sense_is_refused(written: str):
    found = problem(people(f'approver "alice" {{\n ssh_key = "{ONE}"\n valid_until = "{written}"\n}}'))
    assert (found.code, written in found.message) == ("config.invalid_value", True)


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        (f'ssh_key = "{ONE}"', f'ssh_key = "{ssh_key(1, "another comment")}"', parse_ssh_key(ONE).fingerprint),
        ('github = "alice"', 'github = "Alice"', "the github login alice"),
        ('github = "a"\n emails = ["x@y.z"]', 'github = "b"\n emails = ["X@y.z"]', "the address x@y.z"),
    ],
)
def test_what_would_let_one_person_count_twice_is_refused(first: str, second: str, shared: str):
    found = problem(people(f'approver "alice" {{\n {first}\n}}', f'approver "bob" {{\n {second}\n}}'))
    assert found.code == "config.shared_identity"
    assert shared in found.message
    assert 'approver "bob"' in found.message
    assert 'with approver "alice"' in found.message


def test_the_same_login_at_two_forges_is_two_people():
    config = parse_config(people('approver "a" {\n github = "sam"\n}', 'approver "b" {\n gitlab = "sam"\n}'))
    assert [person.name for person in config.approvers] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ('ssh_key = "hello"', "config.invalid_value", "is no SSH public key"),
        ('ssh_key = "ssh-ed25519 AAAA x"', "config.invalid_value", "cut off or damaged"),
        ('ssh_key = "ssh-dss AAAAB3NzaC1kc3M= x"', "config.invalid_value", "ssh-dss cannot sign approvals"),
        ('ssh_key = "-----BEGIN OPENSSH PRIVATE KEY-----"', "config.invalid_value", "it is a private key"),
        ('github = "a"\n emails = ["nobody"]', "config.invalid_value", 'cannot be "nobody"'),
        ('emails = ["a@b.c"]', "config.missing_key", "neither a key nor a login"),
        ('github = "a"\n revoked = "yes"', "config.wrong_type", "true or false"),
        ('github = "a"\n gihub = "b"', "config.unknown_key", "gihub"),
    ],
)
def test_what_is_wrong_with_a_person_is_told_with_its_line(line: str, code: str, words: str):
    found = problems(people(f'approver "alice" {{\n {line}\n}}'))[0]
    assert found.code == code
    assert words in f"{found.message} {found.hint}"
    assert found.message.startswith("tfops.hcl:")


def test_a_fault_in_the_trust_block_is_told_once():
    assert len(problems(people('approve "alice" {\n github = "alice"\n}'))) == 1


def test_a_runner_may_be_limited_to_plans_for_review():
    (runner,) = parse_config(people('runner "pr" {\n public_key = "pr.pub"\n only = "speculative"\n}')).runners
    assert runner.only == "speculative"
    found = problem(people('runner "pr" {\n public_key = "pr.pub"\n only = "sync"\n}'))
    assert found.code == "config.invalid_value"
