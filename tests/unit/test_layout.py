"""Which directories are root modules: in doubt none, for what is proposed is applied one day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.layout import MOST_DIRECTORIES, Layout, environment_names, layout

BACKEND = 'terraform {\n  backend "s3" {}\n}\n'
RESOURCE = 'resource "terraform_data" "a" {}\n'
BUCKET = 'resource "aws_s3_bucket" "a" {}\n'


def found(files: dict[str, str]) -> Layout:
    return layout(files, lambda path: files[path].encode())


def calls(source: str) -> str:
    return f'module "m" {{\n  source = "{source}"\n}}\n'


@pytest.mark.parametrize(
    "files",
    [
        {"infra/prod/main.tf": BACKEND},
        {"infra/prod/main.tf": 'provider "aws" {}\n'},
        {"infra/prod/main.tf.json": '{"provider": {"aws": {}}}'},
        {"infra/prod/main.tf": RESOURCE, "infra/prod/.terraform.lock.hcl": ""},
        {"infra/prod/main.tf": RESOURCE, "infra/prod/prod.auto.tfvars": ""},
        {"infra/prod/main.tf": BACKEND + calls("../../shared/net"), "shared/net/main.tf": 'provider "aws" {}\n'},
    ],
)
def test_a_directory_with_what_only_root_modules_have_is_one_wherever_it_lies(files: dict[str, str]):
    assert found(files).roots == {"prod": "infra/prod"}


@pytest.mark.parametrize(
    "path",
    [
        "modules/net/main.tf",
        "examples/complete/main.tf",
        "infra/test/fixtures/main.tf",
        "vendor/x/main.tf",
        ".hidden/x/main.tf",
        "environments/modules/main.tf",
    ],
)
def test_examples_tests_and_modules_are_none(path: str):
    assert found({path: BACKEND}).roots == {}


def test_what_others_call_as_a_local_module_is_none_and_neither_is_the_root_of_a_module():
    files = {"net/main.tf": 'provider "aws" {}\n', "live/main.tf": BACKEND + calls("../net")}
    assert found(files).roots == {"live": "live"}
    assert found({"main.tf": RESOURCE, "examples/simple/main.tf": calls("../../")}).roots == {}


def test_a_directory_without_any_sign_is_named_as_doubtful_and_left_out():
    told = found({"main.tf": RESOURCE, "shared/net/main.tf": RESOURCE, "broken/main.tf": "resource {{{"})
    assert (told.roots, told.doubtful) == ({"main": "."}, ("broken", "shared/net"))


@pytest.mark.parametrize(
    ("roots", "names"),
    [
        (["."], {"main": "."}),
        ([".", "bootstrap"], {"main": ".", "bootstrap": "bootstrap"}),
        (["environments/dev", "environments/prod"], {"dev": "environments/dev", "prod": "environments/prod"}),
        (["live/prod/net", "live/test/net"], {"prod-net": "live/prod/net", "test-net": "live/test/net"}),
        (["a/-x"], {}),
    ],
)
def test_environments_are_named_by_the_end_of_their_paths(roots: list[str], names: dict[str, str]):
    assert environment_names(roots) == names


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)


@given(st.sets(PATHS))
def test_every_root_module_has_a_name_of_its_own(roots: set[str]):
    assert sorted(environment_names(roots).values()) == sorted(roots)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"main.tf": BUCKET}, "has no .terraform.lock.hcl"),
        ({"main.tf": calls("./modules/a"), "modules/a/main.tf": calls("../b"), "modules/b/main.tf": BUCKET}, "has no"),
        ({"main.tf": RESOURCE, "terraform.tfstate": "{}"}, "would make everything a second time"),
        ({"main.tf": "resource {{{"}, "cannot be read"),
    ],
)
def test_why_a_first_sync_would_fail_is_said_before(files: dict[str, str], words: str):
    told = found(files)
    assert told.roots == {"main": "."}
    assert words in told.faults["."]


def test_of_what_can_be_applied_nothing_is_amiss_and_all_its_code_is_named():
    files = {"main.tf": calls("./modules/a"), "modules/a/main.tf": calls("../b"), "modules/b/main.tf": RESOURCE}
    told = found(files)
    assert (told.faults, told.code) == ({}, (".", "modules/a", "modules/b"))
    assert found({"main.tf": BUCKET, ".terraform.lock.hcl": ""}).faults == {}


def test_modules_that_call_each_other_come_to_an_end():
    files = {"main.tf": calls("./a"), "a/main.tf": calls("../b"), "b/main.tf": calls("../a")}
    assert found(files).code == (".", "a", "b")


def test_of_a_flood_of_directories_only_the_usual_places_are_looked_at():
    files = {f"d{number}/main.tf": BACKEND for number in range(MOST_DIRECTORIES + 1)}
    assert found({**files, "environments/prod/main.tf": RESOURCE}).roots == {"prod": "environments/prod"}
