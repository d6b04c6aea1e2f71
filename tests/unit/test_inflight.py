"""After Terraform itself was killed the journal is the only record: every creation that may be missing is named."""

import json
from typing import Any

import hcl2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tfops.deployment import ResourceResult, resource_results
from tfops.hcl import parse_body
from tfops.inflight import import_block, instances, lives_only_in_state, missing_creations, still_missing

Key = int | str | None


def quoted(key: str) -> str:
    """As Terraform spells a key in an address (toHCLQuotedString in its internal/addrs/instance_key.go)."""
    escapes = {"\n": "\\n", "\r": "\\r", "\t": "\\t", '"': '\\"', "\\": "\\\\"}
    parts = []
    for place, letter in enumerate(key):
        if letter in "$%" and key[place + 1 : place + 2] == "{":
            parts.append(letter * 2)
        elif letter in escapes:
            parts.append(escapes[letter])
        elif letter.isprintable():
            parts.append(letter)
        else:
            parts.append(f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}")
    return f'"{"".join(parts)}"'


def index(key: Key) -> str:
    if key is None:
        return ""
    return f"[{key}]" if isinstance(key, int) else f"[{quoted(key)}]"


def address(type_: str, name: str, key: Key = None, modules: tuple[tuple[str, Key], ...] = ()) -> str:
    """As Terraform's events name a resource instance."""
    path = "".join(f"module.{module}{index(at)}." for module, at in modules)
    return f"{path}{type_}.{name}{index(key)}"


def state(*entries: dict[str, Any]) -> bytes:
    return json.dumps({"version": 4, "serial": 1, "lineage": "l", "resources": entries}).encode()


def resource(
    type_: str = "fake_server",
    name: str = "web",
    *,
    keys: tuple[Key, ...] = (None,),
    id_: object = "i-1",
    module: str = "",
    **more: Any,
) -> dict[str, Any]:
    """A resource as a state file holds it."""
    found = [{"attributes": {"id": id_}} | ({} if key is None else {"index_key": key}) for key in keys]
    entry = {"mode": "managed", "type": type_, "name": name, "instances": found, **more}
    return entry | ({"module": module} if module else {})


def begun(where: str, *, action: str = "create", ok: bool = False, id_: str | None = None) -> ResourceResult:
    return ResourceResult(address=where, action=action, ok=ok, id=id_)


def missing(results: list[ResourceResult], data: bytes) -> list[str]:
    return [result.address for result in missing_creations(results, instances(data))]


NAMES = st.sampled_from(["web", "a_b", "a-b", "x1"])
TYPES = st.sampled_from(["fake_server", "terraform_data", "aws_instance", "null_resource"])
# What Terraform and JSON spell alike; the rest has tests of its own.
PLAIN = st.text(st.characters(categories=["L", "N", "P", "S"]) | st.sampled_from(" \n\t\r"), max_size=8).filter(
    lambda text: "${" not in text and "%{" not in text
)
KEYS: st.SearchStrategy[Key] = st.none() | st.integers(0, 12) | PLAIN
MODULES = st.lists(st.tuples(NAMES, KEYS), max_size=3).map(tuple)


class TestInstances:
    @pytest.mark.parametrize("data", [b"", b"\n", b"{}", state(), b'{"resources": null}'])
    def test_where_there_is_nothing_there_are_none(self, data):
        assert instances(data) == {}

    def test_every_instance_is_named_with_its_id(self):
        data = state(
            resource("a", "one", id_="1"),
            resource("a", "counted", keys=(0, 1), id_="2"),
            resource("a", "each", keys=("x.y",), id_="3", module='module.m["k"]'),
        )
        assert instances(data) == {
            "a.one": {"1"},
            "a.counted[0]": {"2"},
            "a.counted[1]": {"2"},
            'module.m["k"].a.each["x.y"]': {"3"},
        }

    def test_an_object_that_is_to_be_destroyed_yet_stands_beside_its_successor(self):
        entry = resource(id_="new")
        entry["instances"].append({"deposed": "abcdef01", "attributes": {"id": "old"}})
        assert instances(state(entry)) == {"fake_server.web": {"new", "old"}}

    def test_what_is_only_read_is_none_of_ours(self):
        assert instances(state(resource(mode="data"))) == {}

    @pytest.mark.parametrize("attributes", [None, {}, {"id": None}])
    def test_a_resource_without_an_id_is_there_all_the_same(self, attributes):
        entry = resource()
        entry["instances"] = [{"attributes": attributes}]
        assert list(instances(state(entry))) == ["fake_server.web"]

    def test_a_number_is_an_id_as_the_journal_spells_it(self):
        assert instances(state(resource(id_=7))) == {"fake_server.web": {"7"}}


class TestMissing:
    @given(TYPES, NAMES, KEYS, MODULES)
    @example("fake_server", "web", '"]', ())
    @example("fake_server", "web", "a.b[0]", (("m", '\\"'),))
    def test_what_the_state_has_is_not_missing_whatever_it_is_called(self, type_, name, key, modules):
        module = "".join(f".module.{part}{index(at)}" for part, at in modules)[1:]
        data = state(resource(type_, name, keys=(key,), module=module))
        where = address(type_, name, key, modules)
        assert list(instances(data)) == [where]
        assert missing([begun(where), begun(where, ok=True, id_="i-1")], data) == []

    @given(TYPES, NAMES, KEYS, MODULES)
    @example("terraform_data", "web", '"]', ())
    @example("fake_server", "terraform_data", "terraform_data.x", (("terraform_data", "terraform_data.x"),))
    def test_what_the_state_lacks_is_missing_unless_it_lives_only_there(self, type_, name, key, modules):
        where = address(type_, name, key, modules)
        expected = [] if type_ == "terraform_data" else [where]
        assert missing([begun(where)], state()) == expected
        assert lives_only_in_state(where) is (type_ == "terraform_data")

    @given(st.lists(st.builds(begun, st.text(max_size=30), action=st.sampled_from(["create", "delete", "read"]))))
    def test_no_journal_whatsoever_makes_it_fail(self, results):
        found = missing_creations(results, {})
        assert {result.address for result in found} <= {result.address for result in results}

    @pytest.mark.parametrize("action", ["update", "delete", "read", "no-op", ""])
    def test_only_creations_can_be_missing(self, action):
        assert missing([begun("fake_server.web", action=action)], state()) == []

    @pytest.mark.parametrize("ok", [True, False])
    def test_a_creation_that_finished_is_missing_too_if_its_state_was_never_written(self, ok):
        assert missing([begun("fake_server.web", ok=ok, id_="i-1")], state()) == ["fake_server.web"]

    def test_a_replacement_whose_new_object_the_state_does_not_know_is_missing(self):
        data = state(resource(id_="old"))
        assert missing([begun("fake_server.web", ok=True, id_="new")], data) == ["fake_server.web"]
        assert missing([begun("fake_server.web", ok=True, id_="old")], data) == []

    def test_a_replacement_that_was_in_flight_is_missing_although_the_state_still_has_the_deleted_object(self):
        journal = [begun("fake_server.web", action="delete", ok=True, id_="old"), begun("fake_server.web")]
        assert missing(journal, state(resource(id_="old"))) == ["fake_server.web"]

    def test_a_replacement_of_which_only_the_deletion_was_begun_is_not(self):
        journal = [begun("fake_server.web", action="delete", id_="old")]
        assert missing(journal, state(resource(id_="old"))) == []

    def test_each_is_named_once(self):
        results = [begun("fake_server.web"), begun("fake_server.web", ok=True, id_="i-9"), begun("fake_server.other")]
        found = missing_creations(results, {})
        assert [(result.address, result.id) for result in found] == [
            ("fake_server.web", "i-9"),
            ("fake_server.other", None),
        ]

    def test_one_instance_of_many_is_found(self):
        data = state(resource(keys=("a", "c")))
        results = [begun(address("fake_server", "web", key)) for key in ("a", "b", "c")]
        assert missing(results, data) == ['fake_server.web["b"]']

    def test_an_instance_of_another_module_is_another_one(self):
        data = state(resource(module="module.a"))
        assert missing([begun("module.b.fake_server.web")], data) == ["module.b.fake_server.web"]

    def test_it_is_read_from_terraforms_own_events(self):
        def event(kind: str, **hook: Any) -> bytes:
            where = {"addr": 'module.m["x"].fake_server.web[0]'}
            return json.dumps({"type": kind, "hook": {"resource": where, "action": "create", **hook}}).encode() + b"\n"

        journal = event("apply_start") + event("apply_complete", id_key="id", id_value="i-7") + b'{"type": "apply_st'
        (found,) = missing_creations(resource_results(journal), {})
        assert (found.address, found.ok, found.id) == ('module.m["x"].fake_server.web[0]', True, "i-7")

    @pytest.mark.parametrize("key", ["a${b}", "a%{b}", "a\bb", "a\x7fb", "a\u00a0b", "a\u2028b"])
    def test_a_key_that_json_and_terraform_spell_differently_is_the_same(self, key):
        """Spellings as Terraform 1.11 gives them, in its events and in plans."""
        data = state(resource(keys=(key,)))
        assert missing([begun(address("fake_server", "web", key))], data) == []


class TestStillMissing:
    def test_what_the_state_has_got_by_now_is_not_missing(self):
        results = [begun("a.b", id_="i-1"), begun("a.c", id_="i-2"), begun("a.d")]
        assert still_missing(results, {"a.b": {"i-1"}, "a.d": {"i-3"}}, unchanged=False) == (results[1],)

    def test_a_known_object_is_missing_until_the_state_has_that_very_one(self):
        (result,) = results = [begun("a.b", id_="new")]
        assert still_missing(results, {"a.b": {"old"}}, unchanged=False) == (result,)

    def test_an_unknown_object_is_missing_until_somebody_writes_the_state(self):
        (result,) = results = [begun("a.b")]
        assert still_missing(results, {"a.b": {"old"}}, unchanged=True) == (result,)
        assert still_missing(results, {"a.b": {"old"}}, unchanged=False) == ()

    @given(st.lists(st.builds(begun, st.sampled_from(["a.b", "a.c", "a.d"]))), st.sets(st.sampled_from(["a.b", "a.c"])))
    def test_nothing_new_is_ever_missing(self, results, present):
        found = still_missing(results, dict.fromkeys(present, ()), unchanged=False)
        assert all(result in results and result.address not in present for result in found)


ORDINARY = [
    "i-0abc",
    "arn:aws:iam::1:role/x",
    'say "hi"',
    "back\\slash",
    "a\nb",
    "tab\tb",
    "ü 日 😀",
    "",
    "a$b",
    "100%",
]
TEMPLATES = ["${x}", "a${b}c", "$${x}", "%{ if true }", "a%{b}", '${file("/etc/passwd")}']
CONTROLS = ["a\bb", "a\fb"]


def imported(id_: str, where: str = 'module.m["k"].aws_iam_role.x["a b"]') -> object:
    """What HCL makes of the id in an import block, read back."""
    block = import_block(begun(where, id_=id_))
    assert block is not None
    (found,) = parse_body(block.replace(f"to = {where}", "to = 1"), "import.tf").blocks
    assert (found.type, found.labels) == ("import", ())
    assert [attribute.name for attribute in found.body.attributes] == ["to", "id"]
    return found.body.attributes[1].value


class TestImportBlocks:
    def test_without_an_id_there_is_none(self):
        assert import_block(begun("aws_instance.web")) is None

    def test_it_is_what_a_person_pastes(self):
        assert import_block(begun("aws_instance.web[0]", id_="i-1")) == (
            'import {\n  to = aws_instance.web[0]\n  id = "i-1"\n}'
        )

    @pytest.mark.parametrize("id_", ORDINARY)
    def test_an_id_of_any_letters_is_that_very_id(self, id_):
        assert imported(id_) == id_

    @given(PLAIN)
    def test_an_id_of_any_plain_text_is_that_very_id(self, id_):
        assert imported(id_) == id_

    @pytest.mark.parametrize("id_", TEMPLATES)
    def test_an_id_that_looks_like_a_template_is_none(self, id_):
        assert imported(id_) == id_

    @pytest.mark.parametrize("id_", CONTROLS)
    def test_an_id_with_a_control_character_is_that_very_id(self, id_):
        assert imported(id_) == id_

    @pytest.mark.parametrize("id_", ORDINARY)
    @pytest.mark.parametrize(
        "where", ["aws_instance.web", "aws_instance.web[3]", 'module.a["x y"].module.b[0].aws_iam_role.r["a\\"b"]']
    )
    def test_it_is_hcl_for_any_address(self, where, id_):
        found = hcl2.loads(str(import_block(begun(where, id_=id_))) + "\n")
        assert len(found["import"]) == 1
        assert {"to", "id"} <= found["import"][0].keys()

    def test_several_stand_below_each_other(self):
        blocks = [str(import_block(begun(f"a.b[{number}]", id_=f"i-{number}"))) for number in range(3)]
        assert len(hcl2.loads("\n".join(blocks) + "\n")["import"]) == 3
