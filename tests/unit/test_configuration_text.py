"""What `init` writes into tfops.hcl is a configuration, and leaves what a person wrote there as it was."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.config import Config, parse_config
from tfops.config_trust import Runner
from tfops.configuration_text import first_configuration, with_runner, with_store_id
from tfops.layout import layout

ID = "0123456789abcdef" * 2
ENVIRONMENT = 'environment "prod" {\n  branch = "main"\n  roots  = ["."]\n}\n'


STORES = [
    "",
    'store "local" {}\n',
    'store "local" { }\n',
    'store "local" {\n}\n',
    'store "local" {\n  path = "/srv/x"\n}\n',
    'store "local" { path = "/srv/x" }\n',
    'store "local" {path="/srv/x"}\n',
    'store "local" { path = "/srv/}x{" }\n',
    'store   "local"   {\n\n\n}\n',
    '  store "local" {\n  }\n',
    'store "local" {}   \n',
    'store "local" {\r\n  path = "/srv/x"\r\n}\r\n',
    '# store "local" { old }\nstore "local" {\n  # where\n  path = "/srv/x" # here\n}\n',
    '# store "local" {}\n',
    '\n\n\n\nstore "local" {}\n',
    'store "local" {} # ours\n',
    'store "local" { # ours\n  path = "/srv/x"\n}\n',
    'store "local" { // ours\n}\n',
    'store "local" { path = "/srv/x" } # ours\n',
    '/*\nstore "local" {}\n*/\n',
    "store local {}\n",
    '/* ours */ store "local" {}\n',
    '\ufeffstore "local" {}\n',
]


def path_in(text: str) -> str | None:
    return parse_config(text + ENVIRONMENT).store.path


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("store_comes_first", [True, False])
def test_the_id_is_written_into_any_store_block_and_nothing_else_changes(store, store_comes_first):
    text = store + ENVIRONMENT if store_comes_first or store.startswith("\ufeff") else ENVIRONMENT + store
    before = parse_config(text)
    written = with_store_id(text, ID)
    after = parse_config(written)
    assert after.store.id == ID
    assert after.store.path == before.store.path
    assert after.environments == before.environments
    assert written.count("#") == text.count("#"), "a comment was lost"


LINES = st.lists(
    st.sampled_from(
        [
            "",
            "# note",
            "  # store",
            'signing {\n  key = "file:/k"\n}',
            'terraform { binary = "x" }',
            '// store "local" {',
        ]
    ),
    max_size=4,
    unique=True,
)
BODIES = st.sampled_from(
    ["{}", "{ }", "{\n}", '{ path = "/a b" }', '{\n  path = "/x"\n}', '{\n  # c\n  path = "/x" # d\n}']
)


@given(LINES, BODIES, LINES.filter(lambda lines: not any("{" in line and "//" not in line for line in lines)))
def test_the_id_finds_its_block_among_anything_else(before, body, after):
    text = "\n".join([*before, f'store "local" {body}', *after, ENVIRONMENT])
    found = parse_config(with_store_id(text, ID))
    assert found.store.id == ID
    assert found.store.path == parse_config(text).store.path


def test_a_configuration_with_an_id_reads_as_a_person_would_write_it():
    assert with_store_id('store "local" {}\n', ID) == f'store "local" {{\n  id = "{ID}"\n}}\n'
    assert with_store_id(ENVIRONMENT, ID) == f'{ENVIRONMENT}\nstore "local" {{\n  id = "{ID}"\n}}\n'


TRUSTS = [
    "",
    "trust {\n}\n",
    'trust {\n  runner "old" {\n    public_key = "keys/old.pub"\n  }\n}\n',
    'trust { # who\n  runner "old" {\n    public_key = "keys/old.pub"\n  }\n}\n',
    "# trust { }\n",
    'trust {\r\n  runner "old" {\r\n    public_key = "keys/old.pub"\r\n  }\r\n}\r\n',
    "trust {}\n",
    "trust { }\n",
    "  trust {\n  }\n",
]


@pytest.mark.parametrize("trust", TRUSTS)
def test_a_runner_joins_those_who_are_trusted_already(trust):
    text = trust + ENVIRONMENT
    before = parse_config(text).runners
    after = parse_config(with_runner(text, "ci", "keys/ci.pub")).runners
    assert set(after) == {*before, Runner(name="ci", public_key="keys/ci.pub")}


def test_runners_come_one_after_the_other():
    text = ENVIRONMENT
    for name in ("a", "b", "c"):
        text = with_runner(text, name, f"keys/{name}.pub")
    assert {runner.name for runner in parse_config(text).runners} == {"a", "b", "c"}


def environments_in(directory: Path) -> dict[str, str]:
    files = [str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()]
    return dict(layout(files, lambda path: (directory / path).read_bytes()).roots) or {"main": "."}


def first(directory: Path, branch: str = "main", store_path: str | None = None) -> Config:
    return parse_config(first_configuration(environments_in(directory), branch, store_path))


def code(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("")


def test_a_repository_with_its_code_at_the_root_is_one_environment(tmp_path):
    code(tmp_path, "main.tf")
    (found,) = first(tmp_path).environments
    assert (found.name, found.branch, found.roots, found.approval.count) == ("main", "main", ("",), 0)


def test_each_directory_of_environments_with_code_is_one(tmp_path):
    code(tmp_path, "environments/prod/main.tf", "environments/dev/main.tf.json", "environments/docs/readme.md")
    code(tmp_path, "environments/notes.tf", "environments/old/.main.tf", "environments/old/main.tf~")
    assert {one.name: one.roots for one in first(tmp_path).environments} == {
        "dev": ("environments/dev",),
        "prod": ("environments/prod",),
    }


def test_the_branch_that_is_checked_out_is_the_one(tmp_path):
    assert first(tmp_path, branch="trunk").environments[0].branch == "trunk"


@pytest.mark.parametrize("path", ["/srv/tfops", "~/tfops", "/srv/with space/ü"])
def test_a_store_where_it_was_asked_for(tmp_path, path):
    assert first(tmp_path, store_path=path).store.path == path


def test_a_first_configuration_takes_an_id_and_a_runner(tmp_path):
    for store_path in (None, "/srv/x"):
        text = with_runner(
            with_store_id(first_configuration(environments_in(tmp_path), "main", store_path), ID), "ci", "keys/ci.pub"
        )
        found = parse_config(text)
        assert (found.store.id, found.store.path) == (ID, store_path)
        assert [runner.name for runner in found.runners] == ["ci"]


@pytest.mark.parametrize("branch", ['we"ird', "a${b}", "%{if}"])
def test_a_branch_of_any_name_makes_a_configuration(tmp_path, branch):
    assert first(tmp_path, branch=branch).environments[0].branch == branch


@pytest.mark.parametrize("path", ['/srv/"x"', "/srv/a\\b", "/srv/${x}"])
def test_a_store_of_any_path_makes_a_configuration(tmp_path, path):
    assert first(tmp_path, store_path=path).store.path == path


@pytest.mark.parametrize("name", ["eu west", "state", ".hidden", "été", 'a"b'])
def test_a_directory_of_any_name_makes_a_configuration(tmp_path, name):
    code(tmp_path, "environments/prod/main.tf", f"environments/{name}/main.tf")
    assert "prod" in {one.name for one in first(tmp_path).environments}
