"""What the code of a change would run while it is planned, whichever way it is written."""

import json

import pytest

from tests.fakes import DictTree
from tfops.config import Environment
from tfops.config_review import Allowance, Review
from tfops.inputs import closure
from tfops.modules import scan
from tfops.untrusted import code_findings, file_changed, plugins, settings_changed

NOTHING = Review()
PROD = Environment(name="prod", branch="main", roots=("prod",))


def found(text: str, review: Review = NOTHING, path: str = "prod/main.tf", product: str = "terraform"):
    return code_findings({path: scan(text.encode(), path)}, review, product=product)


def refused(text: str, review: Review = NOTHING, path: str = "prod/main.tf") -> list[str]:
    return [finding.sentence for finding in found(text, review, path) if finding.at_plan]


def flagged(text: str, path: str = "prod/main.tf") -> list[str]:
    return [finding.sentence for finding in found(text, path=path) if not finding.at_plan]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('\ndata "external" "x" {}\n', "prod/main.tf:2: data.external.x runs a program"),
        ("data external x {}\n", "prod/main.tf:1: data.external.x runs a program"),
        ('data "ext\\u0065rnal" "x" {}\n', "prod/main.tf:1: data.external.x runs a program"),
        ('check "c" {\n  data "external" "x" {}\n}\n', "prod/main.tf:2: data.external.x runs a program"),
        ('data "http" "x" {}\n', "prod/main.tf:1: data.http.x sends a request"),
        (
            'provider "kubernetes" {\n  exec {\n    command = "sh"\n  }\n}\n',
            "prod/main.tf:1: provider.kubernetes may start a program (exec)",
        ),
        (
            'provider "helm" {\n  kubernetes = { exec = { command = "sh" } }\n}\n',
            "prod/main.tf:1: provider.helm may start a program (exec)",
        ),
        (
            'provider "x" {\n  dynamic "exec" {\n    for_each = [1]\n  }\n}\n',
            "prod/main.tf:1: provider.x may start a program (exec)",
        ),
        (
            'terraform {\n  backend "s3" {\n    shared_config_files = ["here"]\n  }\n}\n',
            "prod/main.tf:2: backend.s3 may start a program (shared_config_files)",
        ),
        (
            'data "terraform_remote_state" "x" {\n  config = { shared_config_files = ["here"] }\n}\n',
            "prod/main.tf:1: data.terraform_remote_state.x may start a program (shared_config_files)",
        ),
    ],
)
def test_what_runs_while_planning_is_found(text, sentence):
    assert refused(text) == [sentence]


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"data": {"external": {"x": {}}}}, "data.external.x runs a program"),
        ({"data": [{"external": [{"x": [{}]}]}]}, "data.external.x runs a program"),
        ({"check": {"c": {"data": {"external": {"x": {}}}}}}, "data.external.x runs a program"),
        ({"provider": {"kubernetes": {"exec": {"command": "sh"}}}}, "provider.kubernetes may start a program (exec)"),
        ({"provider": {"kubernetes": [{"exec": [{}]}]}}, "provider.kubernetes may start a program (exec)"),
    ],
)
def test_json_hides_nothing(document, sentence):
    (said,) = refused(json.dumps(document), path="prod/x.tf.json")
    assert said.endswith(f": {sentence}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            'resource "terraform_data" "a" {\n  provisioner "local-exec" {\n    command = "sh"\n  }\n}\n',
            "prod/main.tf:2: terraform_data.a runs a provisioner when it is applied (local-exec)",
        ),
        (
            'removed {\n  from = null_resource.a\n  provisioner "local-exec" {\n    when = destroy\n  }\n}\n',
            "prod/main.tf:3: removed.null_resource.a runs a provisioner when it is applied (local-exec)",
        ),
        (
            'action "local_command" "a" {}\n',
            "prod/main.tf:1: action.local_command.a may be invoked when it is applied",
        ),
    ],
)
def test_what_only_an_apply_runs_is_flagged_and_not_refused(text, sentence):
    assert flagged(text) == [sentence]
    assert refused(text) == []


@pytest.mark.parametrize("body", [{"local-exec": {"command": "sh"}}, [{"local-exec": [{}]}]])
def test_a_provisioner_in_json_is_flagged(body):
    document = {"resource": {"terraform_data": {"a": {"provisioner": body}}}}
    (said,) = flagged(json.dumps(document), path="prod/x.tf.json")
    assert said.endswith("terraform_data.a runs a provisioner when it is applied (local-exec)")


def test_plain_code_has_nothing_to_say():
    text = 'variable "exec" {}\nlocals {\n  http = 1\n}\nresource "aws_instance" "external" {\n  http = "x"\n}\n'
    assert found(text) == ()


def test_what_the_rules_allow_is_not_refused():
    text = 'data "external" "x" {}\ndata "http" "y" {}\n'
    assert refused(text, Review(allow=(Allowance.EXTERNAL, Allowance.HTTP))) == []
    assert len(refused(text, Review(allow=(Allowance.HTTP,)))) == 1


MODULE = 'module "m" {\n  source = "SOURCE"\n}\n'


def test_without_a_list_modules_and_providers_come_from_anywhere():
    assert refused(MODULE.replace("SOURCE", "git::https://evil.example/x")) == []
    assert refused('terraform {\n  required_providers {\n    x = { source = "evil.example/a/b" }\n  }\n}\n') == []


@pytest.mark.parametrize("source", ["./m", "../m"])
def test_a_local_module_needs_no_list(source):
    assert refused(MODULE.replace("SOURCE", source), Review(modules=())) == []


def test_a_module_from_elsewhere_is_refused_with_its_place():
    review = Review(modules=("registry.terraform.io/acme/*",))
    assert refused(MODULE.replace("SOURCE", "acme/vpc/aws"), review) == []
    assert refused(MODULE.replace("SOURCE", "evil/vpc/aws"), review) == [
        'prod/main.tf:1: module "m" comes from registry.terraform.io/evil/vpc/aws, which `review` does not allow'
    ]


def test_a_module_whose_source_is_an_expression_is_on_no_list():
    review = Review(modules=("*", "/*"))
    assert len(refused('module "m" {\n  source = var.x\n}\n', review)) == 1
    assert refused('module "m" {\n  source = "./${var.x}"\n}\n', review) == []


def test_a_provider_is_held_against_the_list_wherever_its_name_comes_from():
    review = Review(providers=("hashicorp/random",))
    required = 'terraform {\n  required_providers {\n    SAID\n  }\n}\nresource "random_id" "a" {}\n'
    assert refused('resource "random_id" "a" {}\n', review) == []
    assert refused(required.replace("SAID", 'random = { source = "hashicorp/random" }'), review) == []
    assert refused(required.replace("SAID", 'random = { source = "evil/random" }'), review) == [
        "prod/main.tf:3: the provider registry.terraform.io/evil/random is none that `review` allows"
    ]
    assert len(refused('resource "x" "a" {\n  provider = aws.eu\n}\n', review)) == 1
    assert len(refused('provider "aws" {}\nresource "aws_vpc" "a" {}\n', review)) == 1
    assert len(refused('check "c" {\n  data "aws_vpc" "a" {}\n}\n', review)) == 1
    assert refused('resource "terraform_data" "a" {}\n', review) == []


def test_one_module_does_not_explain_the_names_of_another():
    review = Review(providers=("acme/cloud",))
    facts = {
        "prod/main.tf": scan(
            b'terraform {\n required_providers {\n cloud = { source = "acme/cloud" }\n }\n}\n', "a.tf"
        ),
        "mod/main.tf": scan(b'resource "cloud_thing" "a" {}\n', "b.tf"),
    }
    assert [one.where for one in code_findings(facts, review, product="terraform")] == ["mod/main.tf:1"]


def test_a_provider_that_the_revision_brings_along_is_refused():
    place = (
        "prod/terraform.d/plugins/registry.terraform.io/hashicorp/random/9.9.9/linux_amd64/terraform-provider-random"
    )
    tree = DictTree({"prod/main.tf": b"", place: b"\x7fELF", "other/terraform.d/x": b""})
    assert [finding.where for finding in plugins(closure(tree, "prod"))] == [place]


def test_a_change_does_not_choose_with_what_terraform_runs():
    changed = Environment(name="prod", branch="main", roots=("prod",), pass_env=("TOKEN",), cli_config="x.tfrc")
    assert settings_changed(PROD, PROD) == ()
    assert [finding.what for finding in settings_changed(PROD, changed)] == [
        'environment "prod" changes pass_env',
        'environment "prod" changes cli_config',
    ]
    assert len(settings_changed(None, PROD)) == 1
    assert [finding.what for finding in settings_changed(PROD, changed, ["cli_config", "aws"])] == [
        'environment "prod" changes cli_config'
    ]
    assert settings_changed(None, changed, []) == ()


def test_a_changed_cli_configuration_is_found_through_links():
    before = DictTree({"rc": b"a", "other": b"b"})
    assert file_changed("rc", before, before) == ()
    assert len(file_changed("rc", before, DictTree({"rc": b"c", "other": b"b"}))) == 1
