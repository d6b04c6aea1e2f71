"""CODEOWNERS: who has to approve which file."""

from collections.abc import Mapping

from tfops.owners import Owned, owned
from tfops.owners import unowned as unowned_by

TEXT = """
# comment
*            @all
/modules/db/ @acme/dba  dba@example.org
*.md
"""
NAMES = {"@all": frozenset({"carol"}), "@acme/dba": frozenset({"alice", "bob"}), "dba@example.org": frozenset({"dan"})}


def unowned(
    found: tuple[Owned, ...], approved: Mapping[str, frozenset[str]], names: Mapping[str, frozenset[str]]
) -> list[Owned]:
    return unowned_by(found, lambda path, people: bool(approved.get(path, frozenset()) & people), names)


def test_the_last_pattern_that_fits_says_who_owns_a_file():
    assert owned(TEXT, ["main.tf", "modules/db/x.tf", "README.md"]) == (
        Owned(path="main.tf", owners=("@all",)),
        Owned(path="modules/db/x.tf", owners=("@acme/dba", "dba@example.org")),
    )


def test_a_file_without_an_approval_of_any_of_its_owners_is_named():
    found = owned(TEXT, ["main.tf", "modules/db/x.tf"])
    approved = {"main.tf": frozenset({"alice"}), "modules/db/x.tf": frozenset({"bob"})}
    assert [one.path for one in unowned(found, approved, NAMES)] == ["main.tf"]
    assert unowned(found, {"main.tf": frozenset({"carol"}), "modules/db/x.tf": frozenset({"dan"})}, NAMES) == []
    assert len(unowned(found, {}, NAMES)) == 2


def test_an_owner_that_trust_does_not_know_is_nobody():
    assert unowned(owned("* @ghost", ["a"]), {"a": frozenset({"alice"})}, NAMES) == [
        Owned(path="a", owners=("@ghost",))
    ]


def test_each_section_of_gitlab_asks_for_itself():
    text = "[Docs] @writers\ndocs/\n[Database][2] @acme/dba\nmodules/db/\n*.sql @sql\n^[Optional] @nobody\n*\n"
    assert owned(text, ["docs/a", "modules/db/x.sql"]) == (
        Owned(path="docs/a", owners=("@writers",)),
        Owned(path="modules/db/x.sql", owners=("@sql",)),
    )
    assert owned(text, ["modules/db/main.tf"]) == (Owned(path="modules/db/main.tf", owners=("@acme/dba",)),)


def test_a_file_in_two_sections_needs_an_owner_of_each():
    text = "[One] @one\n*\n[Two] @two\n*\n"
    assert [one.owners for one in owned(text, ["a"])] == [("@one",), ("@two",)]
