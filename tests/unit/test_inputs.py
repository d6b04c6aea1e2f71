"""The closure of a root module: nothing that a plan reads is missing, and what is left out is said."""

import posixpath
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import Content, DictTree, Submodule, Symlink
from tfops import modules
from tfops.errors import ConfigError
from tfops.inputs import (
    Inputs,
    Listing,
    backend_of,
    closure,
    init_key,
    remote_states_of,
    required_versions_of,
)
from tfops.modules import Facts
from tfops.tree import Entry


def call(source: str, name: str = "m") -> str:
    return f'module "{name}" {{\n  source = {source}\n}}\n'


def inputs(files: Mapping[str, Content], root: str = "live/app", **options: object) -> Inputs:
    return closure(DictTree(files), root, **options)  # type: ignore[arg-type]


def taken(files: Mapping[str, Content], root: str = "live/app", **options: object) -> set[str]:
    return set(inputs(files, root, **options).entries)


def test_the_whole_subtree_of_the_root_is_an_input_but_not_dot_terraform() -> None:
    files = {
        **{"live/app/main.tf": "", "live/app/.terraform.lock.hcl": "x", "live/app/deep/data.json": "{}"},
        **{"live/app/.terraform/modules/modules.json": "{}", "live/application/x.tf": "", "README.md": ""},
    }
    assert taken(files) == {"live/app/main.tf", "live/app/.terraform.lock.hcl", "live/app/deep/data.json"}


def test_the_repository_itself_may_be_a_root() -> None:
    assert taken({"main.tf": "", "a/b": "", ".terraform/x": ""}, "") == {"main.tf", "a/b"}


def test_a_root_that_is_not_there_has_no_inputs_and_says_so() -> None:
    found = inputs({"x": ""}, "live/none")
    assert not found.entries
    assert found.unknowns == ("the root module live/none is not in this revision.",)


def test_nested_roots_are_left_out_unless_something_leads_there() -> None:
    files: dict[str, Content] = {
        **{"live/main.tf": "", "live/app/x.tf": "", "live/db/x.tf": "", "live/apple/x.tf": "", "live/web/x.json": ""},
    }
    nested = ["live/app", "live/db", "live", "live/web", "other"]
    assert taken(files, "live", nested_roots=nested) == {"live/main.tf", "live/apple/x.tf"}
    files["live/main.tf"] = call('"./app"') + 'x = file("web/x.json")'
    assert taken(files, "live", nested_roots=nested) == set(files) - {"live/db/x.tf"}


def test_local_modules_are_followed_from_module_to_module() -> None:
    files = {
        "live/app/main.tf": call('"../../modules/a"'),
        "modules/a/main.tf.json": '{"module": {"b": {"source": "../b"}}}',
        "modules/a/templates/x.tpl": "",
        "modules/b/main.tf": call('"../a"'),
        "modules/c/main.tf": "",
    }
    found = inputs(files)
    assert set(found.entries) == set(files) - {"modules/c/main.tf"}
    assert found.module_directories == ("modules/a", "modules/b")
    assert list(found.facts) == ["live/app/main.tf", "modules/a/main.tf.json", "modules/b/main.tf"]
    assert not found.unknowns


def test_two_directories_that_are_called_by_the_same_source_are_both_inputs() -> None:
    files = {
        "live/app/main.tf": call('"../common"'),
        "live/common/main.tf": call('"./nested"'),
        "live/common/nested/main.tf": call('"../common"'),
        "live/common/common/secret.tf": "",
    }
    assert taken(files) == set(files)


def test_a_module_that_is_not_there_is_said_and_becomes_an_input_when_it_comes() -> None:
    files = {"live/app/main.tf": call('"../m"')}
    assert inputs(files).unknowns == ('live/app/main.tf:1: module "m" calls ../m, which is not in this revision.',)
    assert "live/m/x" in taken({**files, "live/m/x": ""})


def test_a_module_outside_the_repository_is_said() -> None:
    (sentence,) = inputs({"live/app/main.tf": call('"../../../m"')}).unknowns
    assert "outside the repository" in sentence


def test_remote_modules_are_no_inputs() -> None:
    found = inputs({"live/app/main.tf": call('"a/b/c"') + call('"git::x?ref=${var.r}"', "n"), "a/b/c/x.tf": ""})
    assert set(found.entries) == {"live/app/main.tf"}
    assert not found.unknowns


def test_a_computed_source_takes_every_directory_that_it_may_name() -> None:
    files: dict[str, Content] = {
        "live/app/main.tf": call('"../../modules/net-${var.kind}"'),
        "modules/net-a/main.tf": call('"../util"'),
        "modules/net-b/sub/x.json": "",
        "modules/net-c": Symlink("../real"),
        "real/main.tf": call('"./x"'),
        "modules/util/main.tf": "",
        "modules/other/main.tf": "",
    }
    found = inputs(files)
    assert set(found.entries) == set(files) - {"modules/other/main.tf"}
    assert "real" in found.module_directories
    assert "expression for its source" in found.unknowns[0]


def test_a_wholly_computed_source_takes_the_whole_repository() -> None:
    files = {"live/app/main.tf": call("var.m"), "anywhere/x.tf": "", "live/db/x.tf": ""}
    found = inputs(files, nested_roots=["live/db"])
    assert set(found.entries) == set(files)
    assert "the whole repository" in found.unknowns[0]


def test_paths_of_the_root_and_of_a_module_are_seen_from_their_own_directories() -> None:
    files = {
        "live/app/main.tf": call('"../../m"'),
        "m/main.tf": 'a = file("../shared.json")\nb = file("${path.module}/../m.json")\nc = "../any.json"',
        **{"live/shared.json": "", "m.json": "", "any.json": "", "live/any.json": "", "shared.json": ""},
    }
    assert taken(files) == set(files) - {"shared.json"}


def test_a_prefix_takes_its_directory_so_that_new_files_matter() -> None:
    files = {
        "live/app/main.tf": 'a = fileset("../../policies", "*.json")\nb = file("../../conf/${var.x}.json")',
        **{"policies/a.json": "", "policies/deep/b.json": "", "conf/c.json": "", "conf2/d.json": ""},
    }
    assert taken(files) == set(files) - {"conf2/d.json"}


def test_a_path_may_name_a_directory() -> None:
    assert "charts/a/b.yaml" in taken({"live/app/main.tf": 'c = "../../charts"', "charts/a/b.yaml": ""})


@pytest.mark.parametrize("path", ["/etc/hosts", "~/.ssh/id.pub", "../../../x"])
def test_a_path_outside_the_repository_is_said(path: str) -> None:
    (sentence,) = inputs({"live/app/main.tf": f'a = file("{path}")'}).unknowns
    assert sentence == f"live/app/main.tf: {path} is outside the repository and no input."


def test_a_computed_path_is_said() -> None:
    (sentence,) = inputs({"live/app/main.tf": "a = file(var.x)"}).unknowns
    assert sentence.startswith("live/app/main.tf: a function reads a file whose path is an expression")


def test_links_to_files_and_their_targets_are_inputs_and_their_facts_count() -> None:
    files: dict[str, Content] = {
        "live/app/main.tf": Symlink("../../shared/hop.tf"),
        "shared/hop.tf": Symlink("real.tf"),
        "shared/real.tf": call('"./m"'),
        "live/app/m/x.tf": "",
        "shared/m/x.tf": "",
    }
    found = inputs(files)
    # The module's directory is the one that holds the link.
    assert set(found.entries) == set(files) - {"shared/m/x.tf"}
    assert found.symlinks == {"live/app/main.tf": "shared/real.tf", "shared/hop.tf": "shared/real.tf"}
    assert list(found.facts) == ["live/app/main.tf", "live/app/m/x.tf"]


def test_a_module_behind_a_directory_link_is_seen_from_its_real_directory() -> None:
    files: dict[str, Content] = {
        "live/app/main.tf": call('"./s/mm"'),
        "live/app/s": Symlink("../../shared"),
        "shared/mm/main.tf": call('"../nn"') + 'x = file("${path.module}/../../root.json")',
        "shared/nn/main.tf": "",
        "live/app/nn/main.tf": "",
        "root.json": "",
    }
    found = inputs(files)
    assert set(found.entries) == set(files)
    assert found.module_directories == ("shared/mm", "shared/nn")


def test_dots_behind_a_link_are_read_both_ways() -> None:
    files: dict[str, Content] = {
        "live/app/main.tf": 'x = "./l/../x.json"',
        "live/app/l": Symlink("../../far/away"),
        **{"far/away/keep": "", "far/x.json": "", "live/app/x.json": ""},
    }
    assert taken(files) == set(files)


def test_a_directory_link_in_the_subtree_brings_its_target_with_the_links_inside() -> None:
    files: dict[str, Content] = {
        "live/app/main.tf": "",
        "live/app/data": Symlink("../../data"),
        "data/a.json": Symlink("../other/a.json"),
        "data/loop": Symlink("."),
        "other/a.json": "",
    }
    assert taken(files) == set(files)


@pytest.mark.parametrize("target", ["nowhere", "../../none/x", "self", "a/b/../../self2"])
def test_a_dangling_link_and_a_loop_are_inputs_themselves(target: str) -> None:
    files: dict[str, Content] = {
        "live/app/self": Symlink(target),
        "live/app/self2": Symlink("self"),
        "live/app/x.tf": Symlink(target),
    }
    found = inputs(files)
    assert set(found.entries) == set(files)
    assert "leads to no file" in found.unknowns[0]


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../x", "in/../../../../x", "hop/../../../../x"])
def test_a_link_out_of_the_repository_among_the_inputs_is_refused(target: str) -> None:
    files: dict[str, Content] = {
        "live/app/x": Symlink(target),
        "live/app/hop": Symlink("deep"),
        "live/app/deep/y": "",
    }
    with pytest.raises(ConfigError) as caught:
        inputs(files)
    (problem,) = caught.value.problems
    assert problem.code == "git.symlink_escapes"
    assert f"live/app/x is a symbolic link to {target}" in problem.message


def test_a_link_out_of_the_repository_elsewhere_harms_nobody() -> None:
    assert taken({"live/app/main.tf": "", "else/x": Symlink("/etc")}) == {"live/app/main.tf"}


def test_links_that_multiply_each_other_end() -> None:
    links = {f"live/app/l{n}": Symlink(f"l{n + 1}/../l{n + 1}") for n in range(200)}
    assert taken({**links, "live/app/main.tf": ""}) == {*links, "live/app/main.tf"}


def test_a_submodule_is_an_input_by_its_commit() -> None:
    files: dict[str, Content] = {
        "live/app/main.tf": call('"../../vendor/m/net"'),
        "live/app/sub": Submodule("1" * 40),
        "vendor/m": Submodule("2" * 40),
    }
    found = inputs(files)
    assert found.entries["vendor/m"].blob == "2" * 40
    assert set(found.entries) == set(files)
    assert found.unknowns


def test_extra_files_and_watched_paths_are_inputs() -> None:
    files: dict[str, Content] = {
        "live/app/main.tf": "",
        **{"vars/prod.tfvars": "", "vars/link": Symlink("target"), "vars/target": "", "vars/no": ""},
        **{
            "docs/a/b.md": "",
            "docs/c.md": "",
            "docs/x.txt": "",
            "a/.tool": "",
            ".tool": "",
            "k/1/z": "",
            "k/1/2/z": "",
        },
    }
    found = inputs(
        files, extra=["vars/prod.tfvars", "./vars/link", "none.tfvars"], watch=["docs/**/*.md", "**/.tool", "k/?/z"]
    )
    assert set(found.entries) == set(files) - {"vars/no", "docs/x.txt", "k/1/2/z"}
    assert found.unknowns == ("none.tfvars is not in this revision.",)


def test_every_unreadable_file_and_link_is_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        inputs({"live/app/a.tf": "{", "live/app/b.tf": b"\xff", "live/app/l": Symlink("/x")})
    assert {problem.code for problem in caught.value.problems} == {"modules.unreadable", "git.symlink_escapes"}
    assert len(caught.value.problems) == 3


def test_facts_may_come_from_a_memory_and_a_listing_serves_many_roots() -> None:
    tree = DictTree({"live/app/main.tf": call('"../m"'), "live/m/x.tf": "", "live/n/x.tf": ""})
    asked: list[str] = []

    def remembered(path: str, entry: Entry) -> Facts:
        asked.append(path)
        return modules.scan(tree.read(path), path)

    listing = Listing.of(tree)
    assert closure(tree, "live/app", facts_of=remembered, listing=listing) == closure(tree, "live/app")
    assert asked == ["live/app/main.tf", "live/m/x.tf"]


def test_only_opentofu_loads_tofu_files() -> None:
    files = {"live/app/main.tf": call('"../a"'), "live/app/main.tofu": call('"../b"'), "live/a/x": "", "live/b/x": ""}
    assert "live/b/x" not in taken(files)
    assert "live/a/x" not in taken(files, product="tofu")


STATE = 'data "terraform_remote_state" "n" {\n  backend = "s3"\n}\n'
KEYED = {
    "live/app/main.tf": 'terraform {\n  required_version = ">= 1"\n  backend "s3" {}\n}\n' + call('"../../m"') + STATE,
    "live/app/override.tf": 'terraform {\n  backend "gcs" {}\n}\n',
    "live/app/.terraform.lock.hcl": "a",
    "m/main.tf": 'terraform {\n  required_version = "< 2"\n}\nresource "aws_x" "y" {}\n' + STATE,
}


def test_backend_states_and_versions_come_from_the_right_files() -> None:
    found = inputs(KEYED)
    backend = backend_of(found, "live/app")
    assert backend is not None
    assert backend.type == "gcs"
    assert [state.name for state in remote_states_of(found, "live/app")] == ["n", "n"]
    assert required_versions_of(found, "live/app") == (">= 1", "< 2")
    assert backend_of(inputs({"live/app/x.tf": ""}), "live/app") is None


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("live/app/.terraform.lock.hcl", "b"),
        ("live/app/override.tf", ""),
        ("m/main.tf", 'resource "google_x" "y" {}'),
        ("live/app/more.tf", call('"x/y/z"', "z")),
    ],
)
def test_the_init_key_changes_with_lock_file_modules_providers_and_backend(path: str, content: str) -> None:
    assert init_key(inputs({**KEYED, path: content}), "live/app") != init_key(inputs(KEYED), "live/app")


def test_the_init_key_ignores_other_changes() -> None:
    more = KEYED["m/main.tf"] + '\nresource "aws_z" "y" {\n  a = 1 # x\n}\n'
    changed = {**KEYED, "m/main.tf": more, "live/app/x.json": ""}
    assert init_key(inputs(changed), "live/app") == init_key(inputs(KEYED), "live/app")


def test_the_init_key_follows_a_linked_lock_file_and_knows_no_module_under_a_computed_source() -> None:
    files: dict[str, Content] = {
        "live/app/.terraform.lock.hcl": Symlink("../lock"),
        "live/lock": "a",
        "live/app/main.tf": call("var.m"),
        "far/x.tf": "",
    }
    keys = {init_key(inputs({**files, path: "b = 1"}), "live/app") for path in ("live/lock", "far/x.tf", "far/no")}
    assert len(keys) == 3


DIRECTORIES = ["live/app", "live/app/in", "live/db", "m/a", "m/b", "data"]
REFERENCES = ["../../m/a", "../b", "./in", "../../data", "../../live/db", "../a/../b", "../../none"]
LINES = st.sampled_from(REFERENCES).flatmap(
    lambda path: st.sampled_from(
        [
            call(f'"{path}"'),
            call(f'"{path}${{var.x}}"'),
            f'x = file("{path}/f.json")',
            f'x = fileset("${{path.module}}/{path}", "*")',
            f'x = "{path}"',
        ]
    )
)
FILES = st.fixed_dictionaries(
    {f"{directory}/main.tf": LINES for directory in DIRECTORIES},
    optional={
        **{f"{directory}/f.json": st.just("") for directory in DIRECTORIES},
        **{
            f"{directory}/l": st.sampled_from(["..", "f.json", posixpath.relpath("m/b", directory), "l", "none"]).map(
                Symlink
            )
            for directory in DIRECTORIES
        },
    },
)


@given(files=FILES, data=st.data())
def test_changing_an_input_changes_the_entries_and_changing_anything_else_does_not(
    files: dict[str, Content], data: st.DataObject
) -> None:
    before = inputs(files)
    path = data.draw(st.sampled_from(sorted(files)))
    old = files[path]
    new = Symlink(old.target + "/.") if isinstance(old, Symlink) else f"{old}\n# other"
    after = inputs({**files, path: new})
    assert (after.entries != before.entries) == (path in before.entries)


@given(files=FILES, directory=st.sampled_from([*DIRECTORIES, "else"]))
def test_a_new_file_is_an_input_exactly_below_what_is_taken_whole(files: dict[str, Content], directory: str) -> None:
    before = inputs(files)
    new = f"{directory}/new.json"
    after = inputs({**files, new: ""})
    assert {path: entry for path, entry in after.entries.items() if path != new} == before.entries
    own = {"live/app", *before.module_directories}
    if any(directory == place or directory.startswith(f"{place}/") for place in own):
        assert new in after.entries
    if directory == "else" and "" not in {posixpath.dirname(path) for path in before.symlinks.values()}:
        assert new not in after.entries


@given(files=FILES, nested=st.lists(st.sampled_from(DIRECTORIES)))
def test_leaving_out_nested_roots_only_ever_leaves_out_their_files(
    files: dict[str, Content], nested: list[str]
) -> None:
    whole, less = inputs(files, "live"), inputs(files, "live", nested_roots=nested)
    missing = set(whole.entries) - set(less.entries)
    assert set(less.entries) <= set(whole.entries)
    if not whole.symlinks:
        assert all(path.startswith(tuple(f"{root}/" for root in nested)) for path in missing)
