"""What the files say: modules, backends, remote states, providers, and which files count."""

import json

import pytest

from tfops.modules import Facts, active_files, scan
from tfops.references import PathReference


def facts(text: str, path: str = "main.tf") -> Facts:
    return scan(text.encode(), path)


def sources(text: str, path: str = "main.tf") -> dict[str, str | None]:
    return {call.name: call.source for call in facts(text, path).modules}


def test_a_module_call_has_a_version_and_the_line_of_its_block() -> None:
    (call,) = facts('\n\nmodule "vpc" {\n  source  = "a/vpc/aws"\n  version = "~> 5.0"\n}\n').modules
    assert (call.name, call.source, call.version, call.line) == ("vpc", "a/vpc/aws", "~> 5.0", 3)


def test_a_computed_source_is_none_with_what_it_begins_with() -> None:
    text = 'module "a" {\n source = "../m/${var.x}"\n}\nmodule "b" {\n source = var.x\n}\nmodule "c" {}\n'
    assert [(call.source, call.source_prefix) for call in facts(text).modules] == [
        (None, "../m/"),
        (None, ""),
        (None, ""),
    ]


def test_a_source_with_backslashes_is_stored_with_slashes() -> None:
    assert sources('module "a" {\n source = "..\\\\m\\\\n"\n}\nmodule "b" {\n source = ".\\\\m"\n}\n') == {
        "a": "../m/n",
        "b": "./m",
    }


def test_a_backend_has_its_literal_attributes_and_says_if_there_are_others() -> None:
    text = """terraform {
  backend "s3" {
    bucket       = "b"
    use_lockfile = true
    n            = -3
    assume_role = {
      role_arn = "r"
    }
    x = null
  }
}
"""
    backend = facts(text).backend
    assert backend is not None
    assert (backend.type, backend.dynamic, backend.line) == ("s3", False, 2)
    assert backend.attributes == (
        ("bucket", "b"),
        ("use_lockfile", True),
        ("n", -3),
        ("assume_role.role_arn", "r"),
    )


@pytest.mark.parametrize("value", ["var.x", '"a${b}"', '["a"]', "1.5", "9" * 5000])
def test_a_backend_with_a_value_that_is_no_literal_is_dynamic(value: str) -> None:
    backend = facts(f'terraform {{\n backend "s3" {{\n  key = {value}\n }}\n}}').backend
    assert backend is not None
    assert (backend.attributes, backend.dynamic) == ((), True)


def test_a_cloud_block_is_a_backend_of_type_cloud() -> None:
    backend = facts('terraform {\n cloud {\n  organization = "o"\n  workspaces { name = "w" }\n }\n}').backend
    assert backend is not None
    assert (backend.type, backend.attributes) == ("cloud", (("organization", "o"), ("workspaces.name", "w")))


def test_remote_states_have_their_literal_configuration() -> None:
    text = """
data "terraform_remote_state" "net" {
  backend = "s3"
  config = {
    bucket = "b", key = "k"
  }
}
data "terraform_remote_state" "dyn" {
  backend   = "s3"
  config    = { key = var.k }
  workspace = terraform.workspace
}
data "terraform_remote_state" "all" {
  backend   = "local"
  config    = local.c
  workspace = "w"
}
"""
    net, dyn, whole = facts(text).remote_states
    assert (net.name, net.backend, net.config, net.workspace, net.dynamic) == (
        "net",
        "s3",
        (("bucket", "b"), ("key", "k")),
        None,
        False,
    )
    assert (dyn.config, dyn.dynamic) == ((), True)
    assert (whole.workspace, whole.config, whole.dynamic) == ("w", (), True)


def test_required_versions_are_found() -> None:
    assert facts('terraform {\n required_version = ">= 1.5, < 2"\n}\n').required_version == (">= 1.5, < 2",)


KEYED = (
    'terraform {\n  required_providers {\n    aws = {\n      source = "hashicorp/aws"\n    }\n  }\n}\n'
    'module "a" {\n  source = "x/y/z"\n  version = "1"\n}\nresource "aws_x" "y" {\n  a = 1\n}\n'
)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", " # note\n\n").replace("  ", "\t"),
        lambda text: text + '\nresource "aws_z" "q" {}\n',
        lambda text: text.replace("a = 1", "a = 2"),
        lambda text: text + '\noutput "o" {\n  value = 1\n}\n',
        lambda text: text.replace("\n", "\r\n"),
    ],
)
def test_the_providers_key_ignores_what_needs_no_init(change) -> None:
    assert facts(change(KEYED)).providers_key == facts(KEYED).providers_key


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("x/y/z", "x/y/q"),
        lambda text: text.replace('version = "1"', 'version = "2"'),
        lambda text: text.replace('module "a"', 'module "b"'),
        lambda text: text.replace("hashicorp/aws", "me/aws"),
        lambda text: text + 'data "google_x" "y" {}\n',
        lambda text: text + 'check "c" {\n data "http" "y" {}\n}\n',
        lambda text: text + 'resource "aws_x" "z" {\n provider = other.x\n}\n',
        lambda text: text + 'provider "google" {}\n',
        lambda text: text.replace("terraform {", 'terraform {\n backend "s3" {}\n'),
    ],
)
def test_the_providers_key_changes_with_modules_providers_and_backend(change) -> None:
    assert facts(change(KEYED)).providers_key != facts(KEYED).providers_key


JSON = {
    "//": "comment",
    "terraform": {"required_version": ">= 1", "backend": {"s3": {"bucket": "b", "use_lockfile": True}}},
    "module": {"a": {"source": "./a", "//": "x", "y": '${file("p.json")}'}},
    "data": [{"terraform_remote_state": {"n": {"backend": "s3", "config": {"key": "k", "n": 1}}}}],
    "variable": {"v": {"description": "an open ${ is text here", "default": ["../q", None, 1.5]}},
}


def test_json_says_the_same_as_hcl() -> None:
    found = facts(json.dumps(JSON, indent=1), "main.tf.json")
    assert [(call.name, call.source, call.line) for call in found.modules] == [("a", "./a", 13)]
    assert found.backend is not None
    assert (found.backend.type, found.backend.attributes) == ("s3", (("bucket", "b"), ("use_lockfile", True)))
    assert [(state.name, state.config) for state in found.remote_states] == [("n", (("key", "k"), ("n", 1)))]
    assert found.required_version == (">= 1",)
    assert set(found.paths) == {
        PathReference(base="root", prefix="p.json", exact=True),
        PathReference(base="any", prefix="../q", exact=True),
    }


def test_modules_in_json_may_be_a_list_or_repeat_their_key() -> None:
    listed = '{"module": [{"a": {"source": "./a"}}, {"b": [{"source": "./b"}]}]}'
    repeated = '{"module": {"a": {"source": "./a"}}, "module": {"b": {"source": "./b"}}}'
    assert sources(listed, "x.tf.json") == sources(repeated, "x.tofu.json") == {"a": "./a", "b": "./b"}


def test_the_loaded_files_of_a_directory_leave_out_what_terraform_ignores() -> None:
    names = [
        "b.tf",
        "a.tf",
        "override.tf",
        "a_override.tf.json",
        ".x.tf",
        "x.tf~",
        "#x.tf#",
        "c.tf.json",
        "d.txt",
    ]
    names += ["e.tofu", "a.tofu", "c.tofu.json", "t.tftest.hcl", "tf"]
    assert active_files(names) == ["a.tf", "b.tf", "c.tf.json", "a_override.tf.json", "override.tf"]
    assert active_files(names, "tofu") == [
        *("a.tofu", "b.tf", "c.tofu.json", "e.tofu", "a_override.tf.json", "override.tf"),
    ]
