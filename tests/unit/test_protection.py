"""What is protected is not lost without somebody saying so."""

import pytest

from tfops.changes import Change, Plan, ResourceChange
from tfops.config_gate import Protect
from tfops.protection import matches, violations


def change(address: str, *actions: str, mode: str = "managed") -> ResourceChange:
    type_ = address.rpartition("module.db.")[2].partition(".")[0]
    return ResourceChange(address=address, type=type_, mode=mode, change=Change(actions=actions))


def plan(*changes: ResourceChange) -> Plan:
    return Plan(resource_changes=changes)


def words(protect: Protect, *changes: ResourceChange) -> list[str]:
    return [one.words for one in violations(protect, plan(*changes))]


def test_what_is_only_made_or_changed_in_place_is_never_in_the_way():
    strict = Protect(max_destroy=0, addresses=("*",), types=("*",), replace=True)
    assert words(strict, change("db.a", "create"), change("db.b", "update"), change("db.c", "no-op")) == []


def test_a_replacement_counts_as_one_that_is_destroyed():
    found = words(Protect(max_destroy=1), change("db.a", "delete"), change("db.b", "delete", "create"))
    assert found == ["it would destroy 2 objects (db.a, db.b); protect allows 1"]


def test_as_many_as_are_allowed_are_allowed():
    assert words(Protect(max_destroy=1), change("db.a", "create", "delete")) == []


@pytest.mark.parametrize(
    ("actions", "done"),
    [(("delete",), "destroyed"), (("create", "delete"), "replaced"), (("forget",), "forgotten")],
)
def test_what_has_a_protected_name_is_not_lost_in_any_way(actions, done):
    assert words(Protect(addresses=("db.a",)), change("db.a", *actions)) == [
        f'db.a would be {done}; protect names "db.a"'
    ]
    assert words(Protect(types=("db",)), change("db.a", *actions)) == [f'db.a would be {done}; protect names "db"']


def test_nothing_is_replaced_where_replacements_are_forbidden():
    assert words(Protect(replace=True), change("db.a", "delete", "create"), change("db.b", "delete")) == [
        "it would replace db.a; protect lets nothing be replaced"
    ]


def test_a_data_source_is_not_lost():
    assert words(Protect(max_destroy=0, replace=True), change("data.x.y", "delete", "create", mode="data")) == []


def test_of_many_some_are_named():
    (found,) = words(Protect(max_destroy=2), *(change(f"db.a{n}", "delete") for n in range(9)))
    assert found == "it would destroy 9 objects (db.a0, db.a1, db.a2, db.a3, db.a4 and 4 more); protect allows 2"


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("module.db.*", "module.db.db.main", True),
        ("module.db.*", 'module.db["eu.west[1]"].db.main[0]', True),
        ('module.db["a"].*', 'module.db["a"].db.main', True),
        ('module.db["a"].*', 'module.db["b"].db.main', False),
        ("module.db.*", "module.dbx.db.main", False),
        ("db.main", "db.main[3]", True),
        ("db.main", "db.maintenance", False),
        ("db.m.in", "db.main", False),
        ("db_*", "db_instance", True),
        ("*", "any\nthing", True),
    ],
)
def test_a_pattern_means_whole_names_and_every_instance(pattern, name, does):
    assert matches(pattern, name) is does


@pytest.mark.parametrize(
    ("strict", "lax", "is_so"),
    [
        (Protect(max_destroy=0), Protect(max_destroy=3), True),
        (Protect(max_destroy=3), Protect(max_destroy=0), False),
        (Protect(), Protect(max_destroy=3), False),
        (Protect(addresses=("a", "b")), Protect(addresses=("b",)), True),
        (Protect(addresses=("a",)), Protect(addresses=("b",)), False),
        (Protect(types=("a",)), Protect(types=("b",)), False),
        (Protect(replace=True), Protect(), True),
        (Protect(), Protect(replace=True), False),
    ],
)
def test_more_protection_is_at_least_as_much(strict, lax, is_so):
    assert strict.is_at_least(lax) is is_so
