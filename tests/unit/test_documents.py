"""Whatever is given to `tfops explain` is a plan or is refused with a word that says what it is."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.documents import read_document
from tfops.errors import Exit, UsageError

PLAN = {"format_version": "1.2", "resource_changes": [], "planned_values": {}}
TEXT = json.dumps(PLAN)
STATE = {"version": 4, "serial": 1, "lineage": "x", "resources": []}


def refused(data: bytes) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        read_document(data, "FILE")
    (problem,) = caught.value.problems
    assert caught.value.exit_code is Exit.USAGE
    return problem.code, problem.message


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_plan_is_read_in_every_encoding_that_json_may_have(encoding):
    assert read_document(TEXT.encode(encoding), "FILE").content == PLAN


def test_latin_1_is_not_guessed():
    assert refused('{"format_version": "1.2", "ü": 1}'.encode("latin-1"))[0] == "explain.unreadable"


@pytest.mark.parametrize("data", [b"", b" \n", b"\0\0"])
def test_an_empty_file_is_called_empty(data):
    assert refused(data) == ("explain.unreadable", "FILE is empty.")


@pytest.mark.parametrize(
    ("data", "code", "word"),
    [
        (b"PK\x03\x04rest", "explain.not_a_plan", "binary plan file"),
        (b'{"@level":"info","@message":"x","type":"version"}\n{"@level":"info"}', "explain.not_a_plan", "stream"),
        (b"[]", "explain.not_a_plan", "not an object"),
        (b"hello", "explain.unreadable", "not JSON"),
        (b'{"format_version": "1.2",', "explain.unreadable", "line 1"),
        (b'{"format_version": "1.2", "a": NaN}', "explain.unreadable", "NaN"),
        (b'{"format_version": "1.2", "a": 1e999}', "explain.unreadable", "number"),
        (b'{"format_version": "1.2", "a": ' + b"1" * 5000 + b"}", "explain.unreadable", "number"),
        (b'{"a":' * 100_000, "explain.unreadable", "deep"),
        (b'{"a":' * 300 + b"1" + b"}" * 300, "explain.unreadable", "deep"),
        (TEXT.encode() + b"}", "explain.unreadable", "goes on"),
        (f"{TEXT}\n{TEXT}".encode(), "explain.not_a_plan", "more than one"),
        (b"Terraform will perform the following actions:\n\n  + x\n", "explain.not_a_plan", "for people"),
        (b"Plan: 1 to add\n{\n  + x\n", "explain.not_a_plan", "for people"),
        (b"Plan: 1 to add, 0 to change, 0 to destroy.\n", "explain.not_a_plan", "for people"),
    ],
)
def test_what_is_no_plan_is_refused_with_a_word(data, code, word):
    found, message = refused(data)
    assert found == code
    assert word in message


@pytest.mark.parametrize(
    ("document", "word"),
    [
        (STATE, "state file (version 4)"),
        ({"format_version": "1.0", "values": {}}, "JSON of a state"),
        ({"format_version": "1.0"}, "empty document"),
        ({"format_version": "1.0", "provider_schemas": {}}, "providers schema"),
        ({"format_version": "1.0", "valid": True, "diagnostics": []}, "validate"),
        ({"terraform_version": "1.11.4", "platform": "linux_amd64"}, "version -json"),
        ({"url": {"sensitive": False, "type": "string", "value": "x"}}, "output -json"),
        ({"any": "thing"}, "neither it nor anything in it"),
        ({}, "neither it nor anything in it"),
        ({"format_version": "1.0", "planned_values": {}, "other_resource_changes": []}, "other_resource_changes"),
    ],
)
def test_other_documents_are_named(document, word):
    code, message = refused(json.dumps(document).encode())
    assert code == "explain.not_a_plan"
    assert word in message


def test_lines_that_a_wrapper_printed_around_the_document_are_left_out():
    text = f"[command]/bin/terraform show -json x\n{TEXT}%0A\n::set-output name=stderr::\n"
    document = read_document(text.encode(), "FILE")
    assert document.content == PLAN
    assert document.notes == ("text around the JSON document was left out",)


def test_a_plan_inside_a_mock_is_found():
    document = read_document(json.dumps({"mock": {"case": {"tfplan": PLAN}}}).encode(), "FILE")
    assert document.content == PLAN
    assert "mock.case.tfplan" in document.notes[0]


def test_several_plans_inside_a_mock_are_refused_by_name():
    data = json.dumps({"mock": {"good": {"tfplan": PLAN}, "bad": {"tfplan": PLAN}}}).encode()
    assert "mock.good.tfplan, mock.bad.tfplan" in refused(data)[1]


def test_a_key_given_twice_is_read_as_terraform_reads_it_and_said():
    document = read_document(b'{"format_version": "0.1", "format_version": "1.2", "resource_changes": []}', "FILE")
    assert document.content["format_version"] == "1.2"
    assert "twice" in document.notes[0]


@pytest.mark.parametrize("version", ["0.1", "1.0", "1.2", "1.99", "1"])
def test_formats_0_and_1_are_read_without_a_note(version):
    assert read_document(json.dumps({**PLAN, "format_version": version}).encode(), "FILE").notes == ()


@pytest.mark.parametrize("version", ["2.0", "10.1", 2])
def test_a_later_format_is_refused(version):
    assert refused(json.dumps({**PLAN, "format_version": version}).encode())[0] == "explain.format_version"


def test_a_format_version_that_is_none_is_read_with_a_note():
    assert "not a version" in read_document(json.dumps({**PLAN, "format_version": "x"}).encode(), "FILE").notes[0]


def test_changes_without_any_format_version_are_read_with_a_note():
    change = {"address": "a.b", "change": {"actions": ["create"]}}
    document = read_document(json.dumps({"resource_changes": [change]}).encode(), "FILE")
    assert "no format_version" in document.notes[0]


def test_the_redacted_plan_of_hcp_terraform_is_read_and_said():
    document = read_document(b'{"plan_format_version": "1.1", "resource_changes": []}', "FILE")
    assert document.content["format_version"] == "1.1"
    assert "HCP" in document.notes[0]


def test_planned_resources_without_changes_are_read_with_a_note():
    planned = {"root_module": {"child_modules": [{"resources": [{"mode": "managed", "address": "a.b"}]}]}}
    document = read_document(json.dumps({"format_version": "1.0", "planned_values": planned}).encode(), "FILE")
    assert "not counted" in document.notes[0]


def test_big_integers_survive():
    data = b'{"format_version": "1.2", "resource_changes": [], "x": 123456789012345678901234567890}'
    assert read_document(data, "FILE").content["x"] == 123456789012345678901234567890


def test_half_a_character_is_replaced():
    data = b'{"format_version": "1.2", "resource_changes": [], "x": "a\\ud800b"}'
    assert read_document(data, "FILE").content["x"] == "a?b"


def test_a_document_of_ten_megabytes_is_read():
    entry = {"address": "a.b", "change": {"actions": ["create"], "after": {"x": "y" * 1000}}}
    data = json.dumps({**PLAN, "resource_changes": [entry] * 10_000}).encode()
    assert len(read_document(data, "FILE").content["resource_changes"]) == 10_000


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)))
def test_any_bytes_are_read_or_refused_and_nothing_else(data):
    with suppress(UsageError):
        read_document(data, "FILE")
