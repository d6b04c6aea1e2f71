"""A fingerprint changes with anything a plan depends on, and tells no secret."""

import hashlib
import hmac
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import DictTree
from tfops.config import AwsRoles
from tfops.fingerprint import Fingerprint, changes_between, fingerprint, keyed
from tfops.inputs import closure
from tfops.stacks import Stack, StateAddress

KEY = b"k" * 32
STACK = Stack(
    id="prod",
    environment="prod",
    root="live",
    workspace="default",
    branch="main",
    var_files=("prod.tfvars",),
    backend_config=(("bucket", "b"),),
    pass_env=("TF_VAR_password", "TF_VAR_unset"),
)
TREE = DictTree({"live/main.tf": "", "live/prod.tfvars": "a = 1\n", "README.md": "x"})
ADDRESS = StateAddress(kind="managed", text="managed:prod", workspace="default")
ENVIRON = {"TF_VAR_password": "hunter2", "HOME": "/root"}


def found(
    stack: Stack = STACK,
    tree: DictTree = TREE,
    address: StateAddress = ADDRESS,
    **other: object,
) -> Fingerprint:
    given_ = {
        "terraform": "terraform 1.11.4",
        "environ": ENVIRON,
        "digest_key": KEY,
        "after": {"network": "lineage-1 3"},
        "cli_config": "none",
    }
    return fingerprint(stack, closure(tree, stack.root), address, **{**given_, **other})


def test_the_same_inputs_have_the_same_fingerprint_whatever_stands_beside_them():
    elsewhere = TREE.with_files({"README.md": "y", "other/main.tf": ""})
    environ = {"UNRELATED": "1", **dict(reversed(ENVIRON.items()))}
    assert found().digest == found(tree=elsewhere, environ=environ).digest


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (found(tree=TREE.with_files({"live/main.tf": "# x\n"})), ("live/main.tf changed",)),
        (found(tree=TREE.with_files({"live/new.tf": ""})), ("live/new.tf is new",)),
        (found(replace(STACK, timeout_seconds=60.0)), ("setting timeout is new",)),
        (found(replace(STACK, aws=AwsRoles(apply_role="arn:other"))), ("setting aws is new",)),
        (found(replace(STACK, pass_env=(*STACK.pass_env, "MORE"))), ("setting pass_env changed",)),
        (
            found(replace(STACK, pass_env=()), environ={}),
            ("setting pass_env is gone", "variable TF_VAR_password is gone"),
        ),
        (found(tree=TREE.without("live/prod.tfvars")), ("live/prod.tfvars is gone",)),
        (found(replace(STACK, workspace="blue")), ("setting workspace changed",)),
        (found(replace(STACK, var_files=())), ("setting var_files changed",)),
        (found(replace(STACK, var_files=("b", "a"))), ("setting var_files changed",)),
        (found(replace(STACK, backend_config=(("bucket", "c"),))), ("setting backend_config changed",)),
        (found(replace(STACK, backend_config=(("bucket", True),))), ("setting backend_config changed",)),
        (found(address=replace(ADDRESS, text="managed:old")), ("setting state changed",)),
        (found(address=replace(ADDRESS, workspace="blue")), ("setting state changed",)),
        (found(cli_config="other"), ("setting cli_config changed",)),
        (found(environ={"TF_VAR_password": "hunter3"}), ("variable TF_VAR_password changed",)),
        (found(environ={"TF_VAR_password": ""}), ("variable TF_VAR_password changed",)),
        (found(environ={}), ("variable TF_VAR_password is gone",)),
        (found(environ={**ENVIRON, "TF_VAR_unset": ""}), ("variable TF_VAR_unset is new",)),
        (found(after={}), ("the state of network is gone",)),
        (found(after={"network": "lineage-1 4"}), ("the state of network changed",)),
        (found(after={"network": "lineage-1 3", "db": "None 0"}), ("the state of db is new",)),
        (found(terraform="terraform 1.11.5"), ("Terraform changed: terraform 1.11.4 → terraform 1.11.5",)),
        (
            found(terraform="tofu 1.9.0", after={}, environ={}),
            (
                "variable TF_VAR_password is gone",
                "the state of network is gone",
                "Terraform changed: terraform 1.11.4 → tofu 1.9.0",
            ),
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_any_changed_input_is_another_fingerprint_and_is_told_in_words(other, words):
    assert other.digest != found().digest
    assert changes_between(found().manifest, other.manifest) == words


def test_a_mode_is_an_input_as_content_is():
    manifest = json.loads(found().manifest)
    assert manifest["files"]["live/main.tf"].startswith("100644 ")


def test_a_true_is_not_a_one_and_not_a_word():
    values = [True, 1, "true", "1", 1.5]
    digests = {found(replace(STACK, backend_config=(("x", value),))).digest for value in values}
    assert len(digests) == len(values)


PARTS = st.fixed_dictionaries(
    {
        "files": st.dictionaries(st.text(), st.text(), max_size=3),
        "settings": st.dictionaries(st.text(), st.text() | st.lists(st.text(), max_size=2), max_size=3),
        "terraform": st.text(),
        "variables": st.dictionaries(st.text(), st.text(), max_size=3),
        "after": st.dictionaries(st.text(), st.text(), max_size=3),
    }
)


@given(PARTS, PARTS)
def test_two_fingerprints_are_equal_only_if_every_part_is(left, right):
    one, other = Fingerprint(**left), Fingerprint(**right)
    assert (one.digest == other.digest) is (left == right)
    assert (changes_between(one.manifest, other.manifest) == ()) is (left == right)


@given(PARTS)
def test_the_digest_is_over_the_manifest_and_the_order_of_names_does_not_matter(parts):
    backwards = {k: dict(reversed(v.items())) if isinstance(v, dict) else v for k, v in parts.items()}
    assert Fingerprint(**parts).digest == Fingerprint(**backwards).digest
    assert Fingerprint(**parts).digest == hashlib.sha256(Fingerprint(**parts).manifest).hexdigest()


@given(st.text(min_size=8, alphabet="ghijklmnopqrstuvwxyz!"))
def test_a_variables_value_never_stands_in_the_manifest(value):
    manifest = found(environ={"TF_VAR_password": value}).manifest.decode()
    assert value not in manifest
    assert hashlib.sha256(value.encode()).hexdigest() not in manifest


def test_a_variable_that_is_not_passed_on_is_no_input():
    assert found(environ={**ENVIRON, "TF_VAR_other": "x"}).digest == found().digest


def test_a_value_cannot_be_guessed_without_the_stores_key():
    assert keyed("hunter2", KEY) == hmac.new(KEY, b"hunter2", "sha256").hexdigest()
    assert keyed("hunter2", KEY) != keyed("hunter2", b"other")
    assert found(digest_key=b"other").digest != found().digest


def test_a_value_that_is_no_unicode_counts_too():
    assert keyed("\udcff", KEY) == hmac.new(KEY, b"\xff", "sha256").hexdigest()
