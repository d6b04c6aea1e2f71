"""Branch → environments → root modules → states: names are unique, orders can be kept, no state has two."""

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.fakes import Content, DictTree
from tfops.config import Config, parse_config
from tfops.errors import ConfigError
from tfops.modules import Backend
from tfops.stacks import (
    Stack,
    branch_matches,
    branch_slug,
    discover,
    environments_of,
    in_order,
    origin,
    path_matches,
    shared_states,
    state_address,
)
from tfops.steps.local_state import local

BRANCHES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def environment(name: str, *, roots: str = '["."]', branch: str = "main", more: str = "") -> str:
    return f'environment "{name}" {{\n  branch = "{branch}"\n  roots = {roots}\n  {more}\n}}\n'


def config(*blocks: str) -> Config:
    return parse_config("\n".join(blocks))


def stacks(*blocks: str, files: tuple[str, ...] = ("main.tf",), branch: str = "main") -> dict[str, Stack]:
    tree = DictTree(dict.fromkeys(files, ""))
    return {stack.id: stack for stack in discover(config(*blocks), tree, branch)}


def faults(*blocks: str, files: tuple[str, ...] = ("main.tf",), branch: str = "main") -> list[tuple[str, str, str]]:
    with pytest.raises(ConfigError) as refused:
        stacks(*blocks, files=files, branch=branch)
    return [(problem.code, problem.message, problem.hint) for problem in refused.value.problems]


def stack(id_: str, after: tuple[str, ...] = (), **fields: object) -> Stack:
    given_ = {"environment": id_, "root": "live", "workspace": "default", "branch": "main"}
    return Stack(id=id_, after=after, **{**given_, **fields})


class TestBranchSlug:
    @given(BRANCHES)
    @example("feature/../../x")
    @example("-rf")
    @example("--")
    @example(" ")
    @example("İ")
    @example("K")
    @example("…")
    @example("x" * 500)
    @example("x" * 39 + "//y")
    def test_a_slug_is_one_safe_word(self, branch):
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", branch_slug(branch))
        assert "--" not in branch_slug(branch)
        assert len(branch_slug(branch)) <= 50

    @given(BRANCHES, BRANCHES)
    @example("a/b", "a-b")
    @example("Feature", "feature")
    @example("a", "a ")
    @example("ä", "ö")
    @example("é", "é")
    @example("x" * 100 + "1", "x" * 100 + "2")
    def test_two_branches_never_share_a_slug(self, one, other):
        assert (branch_slug(one) == branch_slug(other)) is (one == other)

    def test_a_slug_is_still_readable(self):
        assert branch_slug("Feature/ADD-vpc!").startswith("feature-add-vpc-")
        assert branch_slug("日本").startswith("branch-")

    def test_a_slug_never_changes_from_one_version_to_the_next(self):
        """It names workspaces, and so states."""
        assert branch_slug("preview/login") == "preview-login-b8fc91aa"

    def test_a_branch_whose_name_is_no_utf8_has_a_slug_too(self):
        assert branch_slug("\udcff") != branch_slug("\udcfe")


class TestBranchPatterns:
    @pytest.mark.parametrize(
        ("pattern", "branch", "matches"),
        [
            ("main", "main", True),
            ("main", "main2", False),
            ("main", "Main", False),
            ("preview/*", "preview/a", True),
            ("preview/*", "preview/a/b", False),
            ("preview/*", "preview", False),
            ("preview/**", "preview/a/b", True),
            ("*", "main", True),
            ("*", "a/b", False),
            ("**", "a/b", True),
            ("release-*-x", "release-1-x", True),
            ("a.b*", "axb", False),
            ("a+*", "a+1", True),
            ("a[b]*", "ab", False),
            ("*", "a\nb", True),
        ],
    )
    def test_a_star_stays_within_a_part_and_two_go_through_all(self, pattern, branch, matches):
        assert branch_matches(pattern, branch) is matches

    @given(BRANCHES)
    def test_a_name_without_a_star_means_itself_only(self, branch):
        assume("*" not in branch)
        assert branch_matches(branch, branch)
        assert not branch_matches(branch, branch + "x")

    def test_an_exact_branch_keeps_its_environments_name(self):
        (found,) = environments_of(config(environment("prod")), "main")
        assert found.name == "prod"

    def test_each_branch_of_a_pattern_is_an_environment_of_its_own(self):
        preview = environment(
            "preview",
            branch="preview/*",
            more='workspace = "p-${branch_slug}"\n  backend_config = { key = "${branch}/x" }\n'
            '  var_files = ["$${x}.tfvars"]',
        )
        (found,) = environments_of(config(preview), "preview/a")
        slug = branch_slug("preview/a")
        assert found.name == f"preview@{slug}"
        assert found.workspace == f"p-{slug}"
        assert found.backend_config == (("key", "preview/a/x"),)
        assert found.var_files == ("${x}.tfvars",)

    def test_a_branch_that_means_nothing_is_refused_with_those_that_do(self):
        with pytest.raises(ConfigError) as refused:
            environments_of(config(environment("a"), environment("b", branch="preview/*")), "mian")
        (problem,) = refused.value.problems
        assert problem.code == "config.branch_unmapped"
        assert "'mian'" in problem.message
        assert "main, preview/*" in problem.hint


class TestIds:
    def test_a_single_literal_root_is_called_as_its_environment(self):
        assert list(stacks(environment("prod", roots='["live/prod"]'), files=("live/prod/main.tf",))) == ["prod"]

    def test_the_repository_itself_may_be_the_root(self):
        assert stacks(environment("prod"))["prod"].root == ""

    def test_several_literal_roots_are_called_by_their_last_part(self):
        found = stacks(environment("prod", roots='["live/app", "live/db"]'), files=("live/app/a.tf", "live/db/a.tf"))
        assert {name: one.root for name, one in found.items()} == {"prod/app": "live/app", "prod/db": "live/db"}

    def test_a_glob_is_called_by_what_lies_below_its_fixed_part(self):
        files = ("live/eu/app/a.tf", "live/us/app/a.tf", "live/readme.md", "live/us/app/nested/a.tf")
        found = stacks(environment("prod", roots='["live/*/app"]'), files=files)
        assert list(found) == ["prod/eu/app", "prod/us/app"]

    def test_a_single_glob_has_a_path_even_for_a_single_match(self):
        assert list(stacks(environment("prod", roots='["live/*"]'), files=("live/app/a.tf",))) == ["prod/app"]

    def test_two_stars_go_to_any_depth(self):
        files = ("live/a.tf", "live/x/a.tf", "live/x/y/z/a.tf", "other/a.tf")
        found = stacks(environment("prod", roots='["live/x/**"]'), files=files)
        assert {one.root for one in found.values()} == {"live/x", "live/x/y/z"}

    @pytest.mark.parametrize(
        ("roots", "files"),
        [
            ('[".", "modules/x"]', ("main.tf", "modules/x/main.tf")),
            ('["*"]', ("main.tf", "app/main.tf")),
            ('["**"]', ("main.tf",)),
            ('["live/**"]', ("live/main.tf", "live/x/main.tf")),
        ],
    )
    def test_every_id_is_one_that_can_be_named(self, roots, files):
        from tfops.checks import is_stack_id

        assert all(is_stack_id(name) for name in stacks(environment("prod", roots=roots), files=files))

    def test_two_roots_of_one_name_are_refused(self):
        ((code, message, _),) = faults(
            environment("prod", roots='["a/app", "b/app"]'), files=("a/app/m.tf", "b/app/m.tf")
        )
        assert code == "config.duplicate_stack"
        assert message.endswith("prod/app: a/app and b/app")

    @pytest.mark.parametrize("root", ["live/nothing", "live/*", "docs"])
    def test_a_root_without_code_is_refused(self, root):
        ((code, message, hint),) = faults(environment("prod", roots=f'["{root}"]'), files=("docs/readme.md", "m.tf"))
        assert code == "config.root_without_code"
        assert root in message
        assert hint

    def test_every_root_without_code_is_named_at_once(self):
        found = faults(environment("a", roots='["x", "y"]'), environment("b", roots='["z"]'))
        assert [code for code, _, _ in found] == ["config.root_without_code"] * 3

    @pytest.mark.parametrize("file", ["live/.hidden.tf", "live/main.tf~", "live/#main.tf#", "live/main.tfvars"])
    def test_files_that_terraform_ignores_make_no_root(self, file):
        assert faults(environment("prod", roots='["live"]'), files=(file,))[0][0] == "config.root_without_code"

    def test_a_stack_has_what_its_environment_says(self):
        more = """
          workspace = "blue"
          var_files = ["a.tfvars"]
          pass_env = ["TF_VAR_x"]
          watch = ["x/**"]
          cli_config = "x.tfrc"
          approval { count = 2 }
        """
        found = stacks(environment("prod", more=more))["prod"]
        assert (found.workspace, found.var_files, found.pass_env) == ("blue", ("a.tfvars",), ("TF_VAR_x",))
        assert (found.watch, found.cli_config, found.approval.count) == (("x/**",), "x.tfrc", 2)
        assert (found.branch, found.environment) == ("main", "prod")

    def test_environments_of_other_branches_are_not_there(self):
        assert list(stacks(environment("a"), environment("b", branch="release", roots='["gone"]'))) == ["a"]


class TestRootPatterns:
    @pytest.mark.parametrize(
        ("pattern", "path", "matches"),
        [
            ("live/*", "live/a", True),
            ("live/*", "live/a/b", False),
            ("live/*", "live", False),
            ("**", "a/b", True),
            ("live/**", "live", True),
            ("**/app", "app", True),
            ("**/app", "x/y/app", True),
            ("**/app", "x/y/apple", False),
            ("live/[ab]", "live/a", True),
            ("live/?", "live/ab", False),
            ("live/**/x/**", "live/a/x/b/c", True),
            ("Live/*", "live/a", False),
        ],
    )
    def test_a_pattern_means_directories(self, pattern, path, matches):
        assert path_matches(pattern, path) is matches


class TestOrder:
    FILES = ("a/m.tf", "b/m.tf", "c/m.tf")
    GLOB = '["*"]'

    def test_an_environment_comes_after_another(self):
        found = stacks(environment("prod", more='after = ["staging"]'), environment("staging"))
        assert list(found) == ["staging", "prod"]
        assert found["prod"].after == ("staging",)
        assert found["prod"].reads == ()

    def test_a_stack_comes_after_another_and_reads_it(self):
        found = stacks(environment("p", roots=self.GLOB), 'stack "p/a" { after = ["p/c"] }', files=self.FILES)
        assert list(found).index("p/c") < list(found).index("p/a")
        assert (found["p/a"].after, found["p/a"].reads) == (("p/c",), ("p/c",))

    def test_a_preview_comes_after_what_its_pattern_comes_after(self):
        blocks = (
            environment("base", branch="**", roots='["a"]'),
            environment("preview", branch="preview/*", roots='["b"]', more='after = ["base"]'),
        )
        found = stacks(*blocks, files=self.FILES, branch="preview/x")
        slug = branch_slug("preview/x")
        assert found[f"preview@{slug}"].after == (f"base@{slug}",)

    def test_an_order_after_an_environment_of_another_branch_does_not_bind(self):
        found = stacks(environment("prod", more='after = ["staging"]'), environment("staging", branch="dev"))
        assert found["prod"].after == ()

    def test_an_unknown_stack_is_refused_with_the_nearest_name(self):
        ((code, message, hint),) = faults(
            environment("p", roots='["*"]'), 'stack "p/a" { after = ["p/bb"] }', files=self.FILES
        )
        assert code == "config.unknown_stack"
        assert 'there is no stack "p/bb"' in message
        assert hint == 'did you mean "p/b"? stacks here: p/a, p/b, p/c'

    def test_settings_for_a_stack_that_is_not_there_are_refused(self):
        ((code, _, _),) = faults(environment("p", roots='["*"]'), 'stack "p/x" { after = ["p/a"] }', files=self.FILES)
        assert code == "config.unknown_stack"

    def test_settings_for_another_branchs_stacks_are_not_looked_at(self):
        blocks = (environment("a"), environment("b", branch="dev"), 'stack "b" { after = ["a"] }')
        assert list(stacks(*blocks)) == ["a"]

    def test_a_circle_across_environments_and_stacks_is_refused_with_its_path(self):
        ((code, message, _),) = faults(
            environment("x", roots='["a"]', more='after = ["y"]'),
            environment("y", roots='["b"]'),
            'stack "y" { after = ["x"] }',
            files=self.FILES,
        )
        assert code == "config.cycle"
        assert message in (
            "stacks wait for each other: x → y → x",
            "stacks wait for each other: y → x → y",
        )

    @given(st.lists(st.lists(st.integers(0, 30), max_size=5), max_size=15), st.randoms())
    def test_in_order_each_stack_stands_behind_those_it_waits_for(self, waits, random):
        graph = [
            stack(f"s{i}", tuple(sorted({f"s{other % i}" for other in others}) if i else ()))
            for i, others in enumerate(waits)
        ]
        shuffled = list(graph)
        random.shuffle(shuffled)
        ordered = in_order(shuffled)
        assert sorted(ordered, key=lambda one: one.id) == sorted(graph, key=lambda one: one.id)
        place = {one.id: i for i, one in enumerate(ordered)}
        assert all(place[other] < place[one.id] for one in ordered for other in one.after)

    @given(st.integers(1, 8), st.integers(0, 7))
    def test_a_circle_of_any_length_is_named_from_each_to_what_it_waits_for(self, length, extra):
        ring = [stack(f"s{i}", (f"s{(i + 1) % length}",)) for i in range(length)]
        rest = [stack(f"t{i}", ("s0",)) for i in range(extra)]
        with pytest.raises(ConfigError) as refused:
            in_order(rest + ring)
        assert refused.value.problems[0].code == "config.cycle"
        path = str(refused.value).partition(": ")[2].split(" → ")
        assert len(path) == length + 1
        assert path[0] == path[-1]
        waits = {one.id: one.after for one in ring}
        assert all(other in waits[one] for one, other in pairwise(path))

    def test_what_is_not_among_the_stacks_does_not_order_them(self):
        assert [one.id for one in in_order([stack("a", ("gone",))])] == ["a"]


def backend(type_: str, **attributes: object) -> Backend:
    return Backend(type=type_, attributes=tuple(attributes.items()), dynamic=False, line=1)


def address(one: Stack, found: Backend | None, moved: dict[str, str] | None = None):
    return state_address(one, found, moved or {})


class TestStateAddress:
    def test_a_stack_whose_code_says_nothing_has_a_managed_state(self):
        found = address(stack("prod/app", workspace="blue"), None)
        assert (found.kind, str(found)) == ("managed", "managed:prod/app#blue")

    def test_a_renamed_stack_keeps_its_first_ones_managed_state(self):
        moved = {"c": "b", "b": "a"}
        assert str(address(stack("c"), None, moved)) == str(address(stack("a"), None)) == "managed:a#default"

    @pytest.mark.parametrize(
        ("moved", "name", "first"),
        [
            ({}, "a", "a"),
            ({"b": "a"}, "a", "a"),
            ({"a": "b", "b": "a"}, "a", "b"),
            ({"a": "a"}, "a", "a"),
            ({"a": "b", "b": "c", "c": "b"}, "a", "c"),
        ],
    )
    def test_a_chain_of_names_ends_even_where_it_is_a_loop(self, moved, name, first):
        assert origin(name, moved) == first

    @given(st.dictionaries(st.sampled_from("abcdef"), st.sampled_from("abcdef")), st.sampled_from("abcdef"))
    def test_an_origin_is_always_found(self, moved, name):
        assert origin(name, moved) in {name, *moved.values()}

    def test_the_identity_of_an_s3_state_holds_no_credentials(self):
        code = backend("s3", bucket="b", key="k", region="eu", access_key="AKIA", secret_key="hush")
        found = address(stack("prod", backend_config=(("token", "hush"),)), code)
        assert str(found) == found.text == "s3://b/k"

    @pytest.mark.parametrize(
        ("workspace", "more", "identity"),
        [
            ("default", {}, "s3://b/k"),
            ("blue", {}, "s3://b/env:/blue/k"),
            ("blue", {"workspace_key_prefix": "w"}, "s3://b/w/blue/k"),
            ("default", {"endpoints.s3": "http://x:1/"}, "s3://b/k at http://x:1"),
        ],
    )
    def test_an_s3_address_is_the_object_itself(self, workspace, more, identity):
        assert str(address(stack("prod", workspace=workspace), backend("s3", bucket="b", key="k", **more))) == identity

    def test_an_s3_backend_whose_key_is_not_known_is_told_by_what_is(self):
        found = address(stack("prod"), backend("s3", bucket="b", secret_key="hush"))
        assert json.loads(found.text.removeprefix("s3:")) == {"bucket": "b"}

    def test_an_s3_backend_whose_key_is_not_known_has_one_state_a_workspace(self):
        found = [address(stack("prod", workspace=name), backend("s3", bucket="b")) for name in ("default", "blue")]
        assert str(found[0]) != str(found[1])

    def test_a_partial_backend_is_completed_by_the_configuration(self):
        whole = address(stack("prod"), backend("s3", bucket="b", key="k"))
        partial = address(stack("prod", backend_config=(("key", "k"),)), backend("s3", bucket="b", key="x"))
        assert str(whole) == str(partial)

    @pytest.mark.parametrize("path", ["terraform.tfstate", "./x", "../x", ""])
    def test_a_relative_local_path_is_refused_with_the_way_out(self, path):
        with pytest.raises(ConfigError) as refused:
            address(stack("prod"), backend("local", path=path))
        (problem,) = refused.value.problems
        assert (problem.code, problem.stack) == ("state.relative_path", "prod")
        assert "backend_config" in problem.hint

    def test_a_local_backend_without_any_path_is_refused(self):
        with pytest.raises(ConfigError):
            address(stack("prod"), backend("local"))

    @pytest.mark.parametrize("directory", [{}, {"workspace_dir": "x"}])
    def test_workspaces_in_a_relative_directory_are_refused(self, directory):
        with pytest.raises(ConfigError, match="relative directory"):
            address(stack("prod", workspace="blue"), backend("local", path="/srv/x", **directory))

    def test_an_absolute_local_path_is_kept_for_reading(self):
        found = address(stack("prod"), backend("local", path="/srv//a/../x.tfstate"))
        assert str(found) == "local:/srv/x.tfstate#default"
        assert dict(found.settings)["path"] == "/srv//a/../x.tfstate"

    def test_the_configurations_path_wins_over_the_codes(self):
        one = stack("prod", backend_config=(("path", "/srv/x"),))
        assert str(address(one, backend("local", path="relative"))) == "local:/srv/x#default"


class TestSharedStates:
    def test_two_stacks_on_one_state_are_refused_with_both_names(self):
        same = address(stack("a"), backend("s3", bucket="b", key="k"))
        other = address(stack("a", workspace="blue"), backend("s3", bucket="b", key="k"))
        (problem,) = shared_states({"b": same, "a": same, "c": other})
        assert (problem.code, problem.stack) == ("state.shared", "b")
        assert problem.message.startswith("a and b have the same state")

    def test_two_spellings_of_one_s3_object_are_one_state(self):
        found = {
            "plain": address(stack("a"), backend("s3", bucket="b", key="w/blue/k")),
            "workspace": address(
                stack("b", workspace="blue"), backend("s3", bucket="b", key="k", workspace_key_prefix="w")
            ),
            "endpoint": address(stack("c"), backend("s3", bucket="b", key="w/blue/k", endpoint="http://x")),
            "endpoints": address(
                stack("d"), backend("s3", bucket="b", key="w/blue/k", **{"endpoints.s3": "http://x/"})
            ),
        }
        assert [problem.stack for problem in shared_states(found)] == ["endpoints", "workspace"]

    def test_a_rename_onto_a_living_stacks_state_is_refused(self):
        moved = {"b": "a"}
        found = {name: address(stack(name), None, moved) for name in ("a", "b")}
        assert [problem.code for problem in shared_states(found)] == ["state.shared"]

    @given(st.dictionaries(st.text(), st.sampled_from("xyz"), max_size=8))
    def test_every_stack_but_the_first_of_a_state_is_named(self, owners):
        found = {name: replace(address(stack("s"), None), text=text) for name, text in owners.items()}
        assert len(shared_states(found)) == len(owners) - len(set(owners.values()))

    @pytest.mark.parametrize(
        "backends",
        [
            (backend("s3", bucket="b", key="1"), backend("s3", bucket="b", key="2")),
            (backend("gcs", bucket="b", prefix="1"), backend("gcs", bucket="b", prefix="2")),
            (backend("http", address="https://x/1"), backend("http", address="https://x/2")),
            (backend("consul", path="1"), backend("consul", path="2")),
            (backend("cos", bucket="b", key="1"), backend("cos", bucket="b", key="2")),
            (backend("oss", bucket="b", key="1"), backend("oss", bucket="b", key="2")),
            (backend("oci", bucket="b", key="1"), backend("oci", bucket="b", key="2")),
            (
                backend("remote", organization="o", **{"workspaces.name": "1"}),
                backend("remote", organization="o", **{"workspaces.name": "2"}),
            ),
            (
                backend("cloud", organization="o", **{"workspaces.name": "1"}),
                backend("cloud", organization="o", **{"workspaces.name": "2"}),
            ),
            (
                backend("kubernetes", secret_suffix="s", config_context="1"),
                backend("kubernetes", secret_suffix="s", config_context="2"),
            ),
            (backend("pg", conn_str="postgres://a/x"), backend("pg", conn_str="postgres://b/x")),
        ],
        ids=lambda pair: pair[0].type,
    )
    def test_two_states_of_one_backend_are_two(self, backends):
        found = {str(i): address(stack(str(i)), one) for i, one in enumerate(backends)}
        assert shared_states(found) == []

    def test_nothing_that_may_be_a_password_stands_in_an_address(self):
        for one in (
            backend("s3", bucket="b", key="k", secret_key="hush"),
            backend("http", address="https://x", username="u", password="hush"),
            backend("pg", conn_str="postgres://u:hush@h/db"),
            backend("remote", organization="o", token="hush"),
            backend("azurerm", key="k", access_key="hush"),
        ):
            assert "hush" not in str(address(stack("prod"), one))

    def test_nor_in_that_of_a_backend_nobody_knows(self):
        assert "hush" not in str(address(stack("prod"), backend("novel", bucket="b", password="hush")))

    def test_another_password_leads_to_the_same_state(self):
        found = [address(stack("prod"), backend("pg", conn_str=f"postgres://u:{word}@h/db")) for word in ("old", "new")]
        assert str(found[0]) == str(found[1])

    LOCAL = st.fixed_dictionaries(
        {"path": st.sampled_from(["/a", "/b"]), "workspace_dir": st.sampled_from(["/w", "/v"])}
    )

    @given(LOCAL, LOCAL)
    def test_local_states_are_shared_exactly_if_they_are_one_file(self, left, right):
        found = [address(stack("s", workspace="blue"), backend("local", **one)) for one in (left, right)]
        files = {local(one).file for one in found}
        shared = shared_states(dict(zip("ab", found, strict=True)))
        assert bool(shared) is (len(files) == 1)


def test_the_fake_tree_is_what_discovery_reads():
    files: dict[str, Content] = {"a/m.tf": "", "b/m.tf": ""}
    assert len(discover(config(environment("p", roots='["*"]')), DictTree(files), "main")) == 2
