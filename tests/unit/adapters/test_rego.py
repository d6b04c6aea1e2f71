"""Rego over a plan, by the real regopy: what refuses, what does not, and what is no answer at all."""

import builtins
import re
from pathlib import Path

import pytest

from tfops.adapters.rego import RegoFault, denials

PLAN = {"resource_changes": [{"address": "a.b", "change": {"after": {"size": 2**70, "ratio": 0.5, "none": None}}}]}
HEAD = "package tfops\n"


def said(text: str, query: str = "data.tfops.deny", **files: str) -> tuple[str, ...]:
    return denials({"policies/a.rego": text, **files}, query, PLAN)


@pytest.mark.parametrize(
    ("rule", "messages"),
    [
        ('deny contains "x" if false', ()),
        ("deny contains change.address if { some change in input.resource_changes }", ("a.b",)),
        ('deny contains {"msg": "why", "severity": 3} if true', ("why",)),
        ('deny contains {"why": 3} if true', ('{"why": 3}',)),
        ('deny[message] { true; message := "as before version 1" }', ("as before version 1",)),
        ("deny[message] { false; message := 1 }", ()),
    ],
)
def test_every_message_is_a_reason(rule, messages):
    assert said(HEAD + rule) == messages


def test_files_may_use_each_other():
    lib = 'package lib\nbad(address) if startswith(address, "a.")\n'
    text = HEAD + 'deny contains "bad" if { some change in input.resource_changes; data.lib.bad(change.address) }'
    assert said(text, **{"policies/lib.rego": lib}) == ("bad",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("package other\ndeny contains 1 if true", "data.tfops.deny has no value"),
        (HEAD + 'deny := "x" if false', "data.tfops.deny has no value"),
        (HEAD + "deny := true", "is no set of messages"),
        (HEAD + 'deny := {"a": 1}', "is no set of messages"),
        (HEAD + "deny contains {", "policies/a.rego is not valid Rego: this is unclosed"),
        (HEAD + "deny contains 1 if nobody.knows(2)", "cannot be evaluated"),
        (HEAD + "x := 1 if true\nx := 2 if true\ndeny contains x if true", "cannot be evaluated"),
    ],
)
def test_a_policy_that_gives_no_answer_is_a_fault_and_never_silence(text, words, capfd):
    with pytest.raises(RegoFault, match=re.escape(words)):
        said(text)
    assert capfd.readouterr() == ("", ""), "what it has to say goes into the reason"


@pytest.mark.parametrize("call", ["opa.runtime()", 'opa["runtime"]()', "opa . runtime()", "opa.\nruntime()"])
def test_an_attempt_to_read_the_runners_environment_is_refused(call):
    with pytest.raises(RegoFault, match=r"opa\.runtime"):
        said(f"{HEAD}deny contains x if {{ x := {call} }}")


def test_a_package_of_ones_own_may_be_called_opa():
    assert said("package opa.rules\ndeny contains 1 if data.opa.x", "data.opa.rules.deny") == ()


@pytest.mark.parametrize(
    "call", ['http.send({"url": "http://127.0.0.1"})', 'net.cidr_contains("10.0.0.0/8", "10.0.0.1")', 'print("x")']
)
def test_what_would_silently_never_hold_or_write_elsewhere_is_refused(call, capfd):
    with pytest.raises(RegoFault, match=r"regopy lacks|take that out"):
        said(f"{HEAD}deny contains x if {{ x := {call} }}")
    assert capfd.readouterr() == ("", "")


def test_what_regopy_has_may_be_called():
    assert said(HEAD + 'deny contains "x" if regex.match("^a", input.resource_changes[0].address)') == ("x",)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "regopy":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RegoFault, match=re.escape("pip install 'tfops-cli[rego]'")):
        said(HEAD)


def test_the_rule_of_the_guide_does_what_the_guide_says():
    page = (Path(__file__).parents[3] / "docs" / "policies.md").read_text(encoding="utf-8")
    (rule,) = re.findall(r"^```rego\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    change = {
        "address": "aws_s3_bucket_acl.a",
        "type": "aws_s3_bucket_acl",
        "change": {"after": {"acl": "public-read"}},
    }
    plan = {"resource_changes": [change, {**change, "change": {"after": None}}]}
    assert denials({"a.rego": rule}, "data.tfops.deny", plan) == ("aws_s3_bucket_acl.a would be public",)
