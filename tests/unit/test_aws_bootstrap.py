"""The Terraform module for AWS: it is well-formed, and its policies allow exactly what its documentation says.

The AWS provider is not needed. What the policies say is in files without resources; a real Terraform evaluates them,
and a small model of IAM decides over the documents that come out.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hcl2
import pytest

import tfops.adapters.terraform
from tfops.hcl import Block, parse_body

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "modules" / "aws-bootstrap"
README = (MODULE / "README.md").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "aws.md").read_text(encoding="utf-8")
FILES = sorted(MODULE.glob("*.tf"))
PURE = ("variables.tf", "names.tf", "trust.tf", "policies.tf", "configuration.tf")
TIMEOUT_SECONDS = 120

DOCUMENTS = {
    "bucket_policy": "aws_s3_bucket_policy.store.policy",
    "data_key_policy": "aws_kms_key.data.policy",
    "signing_key_policy": "aws_kms_key.signing.policy",
    "runner_policy": "aws_iam_role_policy.runner.policy",
    "plan_policy": "aws_iam_role_policy.plan.policy",
    "apply_policy": "aws_iam_role_policy.apply.policy",
    "runner_trust": "aws_iam_role.runner.assume_role_policy",
    "terraform_trust": "aws_iam_role.plan.assume_role_policy",
    "reviewer_policy": "",
}
KEY_POLICIES = ("data_key_policy", "signing_key_policy")
TRUSTS = ("runner_trust", "terraform_trust")

# Texts


def bare(text: str) -> str:
    """HCL without its comments."""
    return re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)


def unquoted(value: Any) -> Any:
    """What python-hcl2 found, without the quotes and marks it leaves in."""
    if isinstance(value, dict):
        return {unquoted(key): unquoted(each) for key, each in value.items() if not key.startswith("__")}
    if isinstance(value, list):
        return [unquoted(each) for each in value]
    return value.strip('"') if isinstance(value, str) else value


def parsed(path: Path) -> dict[str, Any]:
    return unquoted(hcl2.loads(path.read_text(encoding="utf-8")))


TREES = {path.name: parsed(path) for path in FILES}
CODE = "\n".join(bare(path.read_text(encoding="utf-8")) for path in FILES)


def blocks(kind: str) -> dict[str, Any]:
    """Every block of a kind, by its labels with dots between them."""
    found: dict[str, Any] = {}
    for tree in TREES.values():
        for block in tree.get(kind, []):
            ((first, body),) = block.items()
            if kind in ("resource", "data"):
                found |= {f"{first}.{name}": inner for name, inner in body.items()}
            else:
                found[first] = body
    return found


def declared_locals() -> set[str]:
    return {name for tree in TREES.values() for block in tree.get("locals", []) for name in block}


RESOURCES = blocks("resource")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_of_the_module_is_hcl(path: Path):
    assert TREES[path.name]


def test_every_variable_that_is_read_is_declared_and_every_declared_one_is_read():
    assert set(re.findall(r"\bvar\.(\w+)", CODE)) == set(blocks("variable"))
    for name in blocks("variable"):
        outside = CODE.replace((MODULE / "variables.tf").read_text(encoding="utf-8"), "")
        assert re.search(rf"\bvar\.{name}\b", outside), name


def test_every_local_that_is_read_is_declared_and_every_declared_one_is_read():
    assert set(re.findall(r"\blocal\.(\w+)", CODE)) == declared_locals()


def test_every_resource_that_is_named_exists():
    named = set(re.findall(r"(?<![\w\"/])((?:data\.)?aws_\w+\.\w+)", CODE))
    known = set(RESOURCES) | {f"data.{name}" for name in blocks("data")}
    assert named
    assert named <= known


def test_every_variable_is_described_and_typed():
    assert all({"description", "type"} <= body.keys() for body in blocks("variable").values())


def test_every_output_is_described():
    assert all({"description", "value"} <= body.keys() for body in blocks("output").values())


def test_only_freely_chosen_values_go_unchecked():
    assert {name for name, body in blocks("variable").items() if "validation" not in body} == {"tags"}


def test_the_files_that_are_evaluated_here_need_no_provider():
    for name in PURE:
        assert not TREES[name].keys() & {"resource", "data", "provider", "terraform", "output", "module"}, name


def test_every_policy_that_is_applied_is_one_that_is_evaluated_here():
    applied = {
        f"{address}.{key}": value
        for address, body in RESOURCES.items()
        for key, value in body.items()
        if key in ("policy", "assume_role_policy")
    }
    wanted = {place: f"${{local.{name}}}" for name, place in DOCUMENTS.items() if place}
    assert applied == wanted | {"aws_iam_role.apply.assume_role_policy": "${local.terraform_trust}"}


# Resources


def test_the_bucket_is_closed_to_the_public_in_every_way():
    closed = RESOURCES["aws_s3_bucket_public_access_block.store"]
    names = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    assert [closed[name] for name in names] == [True] * 4


def test_the_bucket_keeps_versions_and_owns_what_lies_in_it():
    (versioning,) = RESOURCES["aws_s3_bucket_versioning.store"]["versioning_configuration"]
    (ownership,) = RESOURCES["aws_s3_bucket_ownership_controls.store"]["rule"]
    assert (versioning["status"], ownership["object_ownership"]) == ("Enabled", "BucketOwnerEnforced")


def test_the_bucket_encrypts_with_the_data_key_by_default():
    (rule,) = RESOURCES["aws_s3_bucket_server_side_encryption_configuration.store"]["rule"]
    (default,) = rule["apply_server_side_encryption_by_default"]
    assert default == {"sse_algorithm": "aws:kms", "kms_master_key_id": "${aws_kms_key.data.arn}"}
    assert rule["bucket_key_enabled"] is True


def test_raw_plans_are_found_by_their_tag_and_their_bytes_go_too():
    rules = {rule["id"]: rule for rule in RESOURCES["aws_s3_bucket_lifecycle_configuration.store"]["rule"]}
    raw = rules["raw-plans"]
    assert raw["filter"][0]["and"][0] == {"prefix": "${var.prefix}/", "tags": {"tfops": "raw-plan"}}
    assert raw["expiration"] == [{"days": "${var.raw_plan_days}"}]
    assert raw["noncurrent_version_expiration"] == [{"noncurrent_days": 1}]


def test_nothing_else_expires_but_older_versions_and_broken_uploads():
    rules = {rule["id"]: rule for rule in RESOURCES["aws_s3_bucket_lifecycle_configuration.store"]["rule"]}
    assert rules.keys() == {"raw-plans", "older-versions"}
    assert rules["older-versions"] == {
        "id": "older-versions",
        "status": "Enabled",
        "filter": [{}],
        "noncurrent_version_expiration": [{"noncurrent_days": "${var.noncurrent_days}"}],
        "expiration": [{"expired_object_delete_marker": True}],
        "abort_incomplete_multipart_upload": [{"days_after_initiation": 3}],
    }


@pytest.mark.parametrize("address", ["aws_s3_bucket.store", "aws_kms_key.data", "aws_kms_key.signing"])
def test_what_holds_the_states_and_the_proof_is_not_destroyed_in_passing(address: str):
    assert RESOURCES[address]["lifecycle"][0]["prevent_destroy"] is True


def test_the_data_key_is_rotated_and_the_signing_key_signs_by_p256():
    data, signing = RESOURCES["aws_kms_key.data"], RESOURCES["aws_kms_key.signing"]
    assert data["enable_key_rotation"] is True
    assert (signing["customer_master_key_spec"], signing["key_usage"]) == ("ECC_NIST_P256", "SIGN_VERIFY")


@pytest.mark.parametrize("role", ["plan", "apply"])
def test_a_role_has_its_denials_before_it_has_your_policies(role: str):
    attachment = RESOURCES[f"aws_iam_role_policy_attachment.{role}"]
    assert attachment["for_each"] == f"${{var.{role}_policies}}"
    assert attachment["depends_on"] == [f"${{aws_iam_role_policy.{role}}}"]


# Terraform


@dataclass(frozen=True)
class Terraform:
    """A real one, on the PATH or embedded, kept from the network."""

    argv: tuple[str, ...]

    def run(self, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        return subprocess.run(
            [*self.argv, *arguments],
            cwd=cwd,
            env=environment | {"CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull},
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module")
def terraform() -> Terraform:
    found = shutil.which("terraform")
    if found:
        return Terraform((found,))
    library = tfops.adapters.terraform.embedded_library()
    if library is None:
        pytest.skip("needs Terraform, on the PATH or embedded")
    program = Path(tfops.adapters.terraform.__file__).with_name("embedded.py")
    return Terraform((sys.executable, "-I", "-S", str(program), str(library)))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_is_formatted_as_terraform_formats_it(path: Path, terraform: Terraform):
    assert terraform.run("fmt", "-check", "-diff", path, cwd=path.parent).stdout == ""


@pytest.mark.parametrize("page", [README, PAGE], ids=["README", "docs/aws.md"])
def test_the_examples_of_the_documents_are_formatted_too(page: str, terraform: Terraform, tmp_path: Path):
    for number, example in enumerate(examples(page, "terraform") + examples(page, "hcl")):
        (tmp_path / f"{number}.tf").write_text(example)
    assert terraform.run("fmt", "-check", "-diff", cwd=tmp_path).stdout == ""


ACCOUNT = "111122223333"
MINIMAL = {
    "account_id": f'"{ACCOUNT}"',
    "region": '"eu-west-1"',
    "bucket": '"acme-tfops"',
    "prefix": '"infra"',
    "github": '{ subjects = ["repo:acme/infra:ref:refs/heads/main"] }',
    "plan_policies": '{ read = "arn:aws:iam::aws:policy/ReadOnlyAccess" }',
    "apply_policies": '{ all = "arn:aws:iam::aws:policy/AdministratorAccess" }',
}
OPERATOR = f"arn:aws:iam::{ACCOUNT}:role/people/operator"
REVIEWER = f"arn:aws:iam::{ACCOUNT}:role/reviewer"
CASES: dict[str, dict[str, str]] = {
    "github": {"reviewer_arns": f'["{REVIEWER}"]'},
    "gitlab": {
        "github": "null",
        "gitlab": '{ subjects = ["project_path:acme/team/infra:ref_type:branch:ref:release/1"], '
        'issuer = "git.example.com", audience = "https://tfops.example.com" }',
    },
    "both": {
        "github": '{ subjects = ["repo:acme@12/infra@34:ref:refs/heads/main", "repo:acme/infra:environment:prod"], '
        f'provider_arn = "arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com" }}',
        "gitlab": '{ subjects = ["project_path:acme/infra:ref_type:branch:ref:main"] }',
        "trusted_role_arns": f'["{OPERATOR}"]',
    },
    "operator": {"github": "null", "trusted_role_arns": f'["{OPERATOR}"]', "object_lock": "null"},
    "china": {"partition": '"aws-cn"', "region": '"cn-north-1"', "name": '"delivery"', "prefix": '"teams/pay"'},
}
STUB = """
locals {
  data_key_arn    = "arn:${var.partition}:kms:${var.region}:${var.account_id}:key/da7a"
  signing_key_arn = "arn:${var.partition}:kms:${var.region}:${var.account_id}:key/5167"
}
"""


def module_call(name: str, arguments: Mapping[str, str]) -> str:
    lines = "".join(f"  {key} = {value}\n" for key, value in arguments.items())
    return f'module "{name}" {{\n  source = "./pure"\n{lines}}}\n'


def pure_module(directory: Path) -> None:
    """The module without its resources; what it would apply are its outputs."""
    pure = directory / "pure"
    pure.mkdir()
    for name in PURE:
        shutil.copy(MODULE / name, pure)
    outputs = "".join(f'output "{name}" {{\n  value = local.{name}\n}}\n' for name in (*DOCUMENTS, "configuration"))
    (pure / "stub.tf").write_text(STUB + outputs)


@pytest.fixture(scope="module")
def evaluated(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Case → what Terraform makes of the policies, by their names."""
    directory = tmp_path_factory.mktemp("evaluated")
    pure_module(directory)
    calls = [module_call(name, MINIMAL | case) for name, case in CASES.items()]
    outputs = [f'output "{name}" {{\n  value = module.{name}\n}}\n' for name in CASES]
    (directory / "main.tf").write_text("".join(calls + outputs))
    for arguments in (("init", "-no-color"), ("apply", "-auto-approve", "-no-color", "-input=false")):
        done = terraform.run(*arguments, cwd=directory)
        assert done.returncode == 0, done.stderr
    answer = json.loads(terraform.run("output", "-json", cwd=directory).stdout)
    return {name: output["value"] for name, output in answer.items()}


def statements(document: str) -> list[dict[str, Any]]:
    return json.loads(document)["Statement"]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def allows(document: str) -> Iterator[dict[str, Any]]:
    yield from (each for each in statements(document) if each["Effect"] == "Allow")


@pytest.mark.parametrize("case", CASES)
def test_every_document_fits_into_the_limits_of_aws(case: str, evaluated: dict[str, dict[str, str]]):
    sizes = {name: len(evaluated[case][name]) for name in DOCUMENTS}
    assert all(sizes[name] <= 2048 for name in TRUSTS)
    assert all(sizes[name] <= 10240 for name in ("runner_policy", "plan_policy", "apply_policy"))
    assert all(sizes[name] <= 6144 for name in ("reviewer_policy",))
    assert all(sizes[name] <= 20480 for name in (*KEY_POLICIES, "bucket_policy"))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_nothing_is_allowed_by_wildcard(name: str, evaluated: dict[str, dict[str, str]]):
    for case in CASES:
        for statement in allows(evaluated[case][name]):
            assert "NotAction" not in statement
            assert not [action for action in listed(statement["Action"]) if "*" in action]
            # In a key's policy "*" is that key.
            assert name in KEY_POLICIES or "*" not in listed(statement.get("Resource", []))
            assert statement.get("Principal") != "*"


@pytest.mark.parametrize("case", ["github", "gitlab", "both", "china"])
def test_a_pipeline_is_known_by_audience_and_by_exact_subject(case: str, evaluated: dict[str, dict[str, str]]):
    pipelines = [each for each in statements(evaluated[case]["runner_trust"]) if "Federated" in each["Principal"]]
    assert len(pipelines) == (2 if case == "both" else 1)
    for statement in pipelines:
        issuer = statement["Principal"]["Federated"].partition(":oidc-provider/")[2]
        assert statement["Condition"].keys() == {"StringEquals"}
        equals = statement["Condition"]["StringEquals"]
        assert equals.keys() == {f"{issuer}:aud", f"{issuer}:sub"}
        assert equals[f"{issuer}:sub"]
        assert "*" not in json.dumps(equals)


def test_only_the_named_roles_become_the_runner_without_a_pipeline(evaluated: dict[str, dict[str, str]]):
    (statement,) = statements(evaluated["operator"]["runner_trust"])
    assert statement["Principal"] == {"AWS": [OPERATOR]}


def test_every_arn_is_of_the_chosen_partition(evaluated: dict[str, dict[str, str]]):
    for document in evaluated["china"].values():
        assert set(re.findall(r"arn:([\w-]+):", document)) <= {"aws-cn"}
    assert "s3.cn-north-1.amazonaws.com.cn" in evaluated["china"]["data_key_policy"]


def test_the_configuration_to_paste_names_what_is_made(evaluated: dict[str, dict[str, str]]):
    store, signing, trust, environment = parse_body(evaluated["china"]["configuration"], "tfops.hcl").blocks
    assert values(store) == {
        "bucket": "acme-tfops",
        "prefix": "teams/pay",
        "region": "cn-north-1",
        "kms_key_id": f"arn:aws-cn:kms:cn-north-1:{ACCOUNT}:key/da7a",
    }
    assert values(signing) == {"key": "awskms:alias/delivery-signing"}
    assert [values(runner) for runner in trust.body.blocks] == [{"public_key": "keys/ci.pub"}]
    (roles,) = environment.body.blocks
    assert values(roles) == {
        "plan_role": f"arn:aws-cn:iam::{ACCOUNT}:role/delivery-plan",
        "apply_role": f"arn:aws-cn:iam::{ACCOUNT}:role/delivery-apply",
    }


def values(block: Block) -> dict[str, Any]:
    return {attribute.name: attribute.value for attribute in block.body.attributes}


# What is refused

REFUSED: dict[str, tuple[str, str]] = {
    "an account that is none": ("account_id", '"1111"'),
    "a partition that is none": ("partition", '"gcp"'),
    "a region that is none": ("region", '"Ireland"'),
    "a bucket with a wildcard": ("bucket", '"acme-*"'),
    "a bucket with a dot": ("bucket", '"acme.tfops"'),
    "an empty prefix": ("prefix", '""'),
    "a prefix with a wildcard": ("prefix", '"*"'),
    "a prefix that ends in a slash": ("prefix", '"infra/"'),
    "a prefix that leads out": ("prefix", '"infra/../x"'),
    "a name that AWS keeps for itself": ("name", '"aws-tfops"'),
    "nobody who could become the runner": ("github", "null"),
    "no subject": ("github", "{ subjects = [] }"),
    "every subject": ("github", '{ subjects = ["*"] }'),
    "every repository": ("github", '{ subjects = ["repo:*"] }'),
    "every repository of an owner": ("github", '{ subjects = ["repo:acme/*:ref:refs/heads/main"] }'),
    "every job of a repository": ("github", '{ subjects = ["repo:acme/infra:*"] }'),
    "every branch": ("github", '{ subjects = ["repo:acme/infra:ref:refs/heads/*"] }'),
    "every branch of a kind": ("github", '{ subjects = ["repo:acme/infra:ref:refs/heads/preview/*"] }'),
    "one good subject and one bad": (
        "github",
        '{ subjects = ["repo:acme/infra:ref:refs/heads/main", "repo:acme/infra:*"] }',
    ),
    "pull requests": ("github", '{ subjects = ["repo:acme/infra:pull_request"] }'),
    "tags of GitHub": ("github", '{ subjects = ["repo:acme/infra:ref:refs/tags/v1"] }'),
    "a policy variable": ("github", '{ subjects = ["repo:acme/infra:environment:$${aws:username}"] }'),
    "an empty audience": ("github", '{ subjects = ["repo:a/b:environment:c"], audience = "" }'),
    "an issuer with a scheme": ("github", '{ subjects = ["repo:a/b:environment:c"], issuer = "https://x.org" }'),
    "a provider of another issuer": (
        "github",
        f'{{ subjects = ["repo:a/b:environment:c"], provider_arn = "arn:aws:iam::{ACCOUNT}:oidc-provider/evil.org" }}',
    ),
    "a thumbprint that is none": ("github", '{ subjects = ["repo:a/b:environment:c"], thumbprints = ["x"] }'),
    "every project": ("gitlab", '{ subjects = ["project_path:*"] }'),
    "every project of a group": ("gitlab", '{ subjects = ["project_path:acme/*:ref_type:branch:ref:main"] }'),
    "every ref": ("gitlab", '{ subjects = ["project_path:acme/infra:*"] }'),
    "tags of GitLab": ("gitlab", '{ subjects = ["project_path:acme/infra:ref_type:tag:ref:v1"] }'),
    "an issuer with a port": (
        "gitlab",
        '{ subjects = ["project_path:a/b:ref_type:branch:ref:c"], issuer = "git.x.org:8443" }',
    ),
    "everybody as operator": ("trusted_role_arns", '["*"]'),
    "the account as operator": ("trusted_role_arns", f'["arn:aws:iam::{ACCOUNT}:root"]'),
    "every role as operator": ("trusted_role_arns", f'["arn:aws:iam::{ACCOUNT}:role/*"]'),
    "Terraform's role as operator": ("trusted_role_arns", f'["arn:aws:iam::{ACCOUNT}:role/tfops-apply"]'),
    "a session of half an hour": ("runner_session_hours", "0.5"),
    "a plan that may do everything": ("plan_policies", '{ all = "arn:aws:iam::aws:policy/AdministratorAccess" }'),
    "a plan that may change most": ("plan_policies", '{ all = "arn:aws:iam::aws:policy/PowerUserAccess" }'),
    "a policy that is none": ("apply_policies", '{ all = "AdministratorAccess" }'),
    "everybody as reviewer": ("reviewer_arns", '["*"]'),
    "a reviewer of another account": ("reviewer_arns", '["arn:aws:iam::999999999999:role/reviewer"]'),
    "raw plans for ever": ("raw_plan_days", "0"),
    "no older versions": ("noncurrent_days", "1"),
    "a lock of an unknown mode": ("object_lock", '{ mode = "LEGAL", days = 1 }'),
    "a lock for no time": ("object_lock", '{ mode = "GOVERNANCE", days = 0 }'),
}


def refusals(terraform: Terraform, directory: Path) -> dict[Path, str]:
    """File → the variable that Terraform refuses in it."""
    found = {}
    for line in terraform.run("plan", "-json", "-input=false", cwd=directory).stdout.splitlines():
        fault = json.loads(line).get("diagnostic")
        if fault and fault["summary"] == "Invalid value for variable":
            file = directory / fault["range"]["filename"]
            found[file] = file.read_text().splitlines()[fault["range"]["start"]["line"] - 1].split()[0]
    return found


@pytest.fixture(scope="module")
def refused(terraform: Terraform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Case → the variable that Terraform refuses."""
    directory = tmp_path_factory.mktemp("refused")
    pure_module(directory)
    cases = {directory / f"case_{number}.tf": case for number, case in enumerate(REFUSED)}
    for file, case in cases.items():
        file.write_text(module_call(file.stem, MINIMAL | dict([REFUSED[case]])))
    done = terraform.run("init", "-no-color", cwd=directory)
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = {}
    # What a variable has against another one is only looked at when each by itself is right.
    while faults := refusals(terraform, directory):
        for file, variable in faults.items():
            found[cases[file]] = variable
            file.unlink()
    return found


@pytest.mark.parametrize("case", REFUSED)
def test_a_dangerous_value_is_refused(case: str, refused: dict[str, str]):
    assert refused.get(case) == REFUSED[case][0]


# Decisions

READ_ONLY = ["s3:Get*", "s3:List*", "iam:Get*", "iam:List*", "kms:Describe*", "kms:Get*", "kms:List*"]
EVERYTHING = ["*"]


def matches(pattern: str, value: str) -> bool:
    expression = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(expression, value, re.DOTALL) is not None


def holds(operator: str, key: str, wanted: list[str], context: Mapping[str, str]) -> bool:
    """One condition of a statement, as IAM judges it: a negated one also holds where the key is missing."""
    value = context.get(key)
    match operator:
        case "Null":
            return (value is None) == (wanted == ["true"])
        case "StringEquals" | "Bool":
            return value in wanted
        case "StringNotEquals" | "ArnNotEquals":
            return value not in wanted
        case "StringLike":
            return value is not None and any(matches(pattern, value) for pattern in wanted)
        case "StringNotLike":
            return value is None or not any(matches(pattern, value) for pattern in wanted)
        case "ForAllValues:StringEquals":
            return value is None or set(value.split(",")) <= set(wanted)
    raise AssertionError(operator)


def applies(statement: Mapping[str, Any], action: str, resource: str, context: Mapping[str, str]) -> bool:
    if "NotAction" in statement:
        is_meant = not any(matches(pattern, action) for pattern in listed(statement["NotAction"]))
    else:
        is_meant = any(matches(pattern, action) for pattern in listed(statement["Action"]))
    return (
        is_meant
        and any(matches(pattern, resource) for pattern in listed(statement.get("Resource", "*")))
        and all(
            holds(operator, key, listed(wanted), context)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def effects(policies: list[list[dict[str, Any]]], *request: Any) -> set[str]:
    return {each["Effect"] for policy in policies for each in policy if applies(each, *request)}


BUCKET = "arn:aws:s3:::acme-tfops"
DATA_KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/da7a"
SIGNING_KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/5167"
ARNS = {name: f"arn:aws:iam::{ACCOUNT}:role/tfops-{name}" for name in ("runner", "plan", "apply")}
ARNS |= {"reviewer": REVIEWER, "administrator": f"arn:aws:iam::{ACCOUNT}:role/administrator"}


class World:
    """The account: every role has, beside ours, the widest policy that somebody might attach to it."""

    def __init__(self, documents: Mapping[str, str]) -> None:
        self.documents = documents
        self.attached = {
            "runner": [],
            "plan": READ_ONLY,
            "apply": EVERYTHING,
            "reviewer": READ_ONLY,
            "administrator": EVERYTHING,
        }

    def identity(self, who: str) -> list[list[dict[str, Any]]]:
        own = self.documents.get(f"{who}_policy")
        extra = [{"Effect": "Allow", "Action": self.attached[who], "Resource": "*"}] if self.attached[who] else []
        return [*([statements(own)] if own else []), extra]

    def may(self, who: str, action: str, resource: str, **context: str) -> bool:
        """Whether S3, IAM or STS lets them."""
        given = {"aws:PrincipalArn": ARNS[who], "aws:SecureTransport": "true"} | translated(context)
        policies = [*self.identity(who), statements(self.documents["bucket_policy"])]
        return effects(policies, action, resource, given) == {"Allow"}

    def may_use(self, who: str, action: str, key: str = DATA_KEY, **context: str) -> bool:
        """Whether KMS lets them: by the key's policy, or by their own where the key leaves that to the account."""
        name = "data_key_policy" if key == DATA_KEY else "signing_key_policy"
        request = (action, key, {"kms:ViaService": "s3.eu-west-1.amazonaws.com"} | translated(context))
        own = effects(self.identity(who), *request)
        if "Deny" in own:
            return False
        principals = {ARNS[who]} | ({f"arn:aws:iam::{ACCOUNT}:root"} if "Allow" in own else set())
        return any(
            principals & set(listed(each["Principal"]["AWS"])) and applies(each, *request)
            for each in statements(self.documents[name])
        )

    def reads(self, who: str, key: str) -> bool:
        return self.may(who, "s3:GetObject", f"{BUCKET}/{key}") and self.may_use(who, "kms:Decrypt")

    def writes(self, who: str, key: str, **context: str) -> bool:
        context = {"s3:ObjectCreationOperation": "true"} | translated(context)
        return self.may(who, "s3:PutObject", f"{BUCKET}/{key}", **context) and self.may_use(who, "kms:GenerateDataKey")

    def creates(self, who: str, key: str) -> bool:
        return self.writes(who, key, if_none_match="*")

    def deletes(self, who: str, key: str) -> bool:
        return self.may(who, "s3:DeleteObject", f"{BUCKET}/{key}")

    def lists(self, who: str, prefix: str) -> bool:
        return self.may(who, "s3:ListBucket", BUCKET, prefix=prefix)


def translated(context: Mapping[str, str]) -> dict[str, str]:
    """`if_none_match` is the condition key `s3:if-none-match`; what has a colon is one already."""
    return {key if ":" in key else f"s3:{key.replace('_', '-')}": value for key, value in context.items()}


@pytest.fixture(scope="module")
def world(evaluated: dict[str, dict[str, str]]) -> World:
    return World(evaluated["github"])


PLAN_ID = "0f" * 32
PLACE = f"infra/prod/network/plans/{PLAN_ID}"
REDACTED = [f"{PLACE}/plan.json", f"{PLACE}/plan.txt", f"{PLACE}/statement.json"]
RECORDS = [*REDACTED, f"{PLACE}/plan.tfplan", f"{PLACE}/claim.json", f"{PLACE}/result.json"]
RECORDS += ["infra/store.json", "infra/digest-key", "infra/audit/000000000001.json", "infra/prod/records/ab.json"]
CHANGING = ["infra/prod/head.json", "infra/prod/lease.json", "infra/prod/waiting", f"{PLACE}/events.ndjson"]
STORE = [*RECORDS, *CHANGING, "infra/prod/inputs/ab", "infra/prod/errored/ab.tfstate", "infra/trust.json"]
STATE = "infra-state/prod/network/terraform.tfstate"
SECRETS = [f"{PLACE}/plan.tfplan", "infra/digest-key", "infra/prod/errored/ab.tfstate", "infra/prod/set-aside/ab"]


@pytest.mark.parametrize("key", STORE)
def test_the_runner_reads_the_whole_store(key: str, world: World):
    assert world.reads("runner", key)


@pytest.mark.parametrize("key", CHANGING)
def test_the_runner_writes_and_removes_what_changes(key: str, world: World):
    assert world.writes("runner", key)
    assert world.deletes("runner", key)


@pytest.mark.parametrize("key", RECORDS)
def test_the_runner_creates_records_and_cannot_write_over_them(key: str, world: World):
    assert world.creates("runner", key)
    assert not world.writes("runner", key)
    assert not world.writes("runner", key, if_match='"etag"')


@pytest.mark.parametrize("key", [key for key in RECORDS if not key.endswith(("plan.tfplan", "plan.json", "plan.txt"))])
def test_the_runner_cannot_remove_what_proves_something(key: str, world: World):
    assert not world.deletes("runner", key)
    assert not world.may("runner", "s3:DeleteObjectVersion", f"{BUCKET}/{key}")


def test_the_parts_of_a_large_upload_need_no_condition_of_their_own(world: World):
    part = {"s3:ObjectCreationOperation": "false"}
    assert world.writes("runner", f"{PLACE}/plan.tfplan", **part)


def test_the_runner_tags_raw_plans_and_nothing_else(world: World):
    def tags(key: str, value: str = "raw-plan", keys: str = "tfops") -> bool:
        context = {"s3:RequestObjectTag/tfops": value, "s3:RequestObjectTagKeys": keys}
        return world.may("runner", "s3:PutObjectTagging", f"{BUCKET}/{key}", **context)

    assert tags(f"{PLACE}/plan.tfplan")
    assert not tags(f"{PLACE}/plan.tfplan", "other")
    assert not tags(f"{PLACE}/plan.tfplan", keys="tfops,owner")
    assert not any(tags(key) for key in STORE if not key.endswith("plan.tfplan"))
    assert not tags(STATE)


def test_the_runner_reads_states_and_writes_only_their_locks(world: World):
    assert world.reads("runner", STATE)
    assert not world.writes("runner", STATE)
    assert not world.deletes("runner", STATE)
    assert world.creates("runner", f"{STATE}.tflock")
    assert world.deletes("runner", f"{STATE}.tflock")


def test_the_runner_does_nothing_else_in_the_bucket_or_in_the_account(world: World):
    assert not world.reads("runner", "other/object")
    assert not world.creates("runner", "other/object")
    assert not world.may("runner", "s3:PutBucketPolicy", BUCKET)
    assert not world.may("runner", "ec2:RunInstances", "*")
    assert not world.may("runner", "sts:AssumeRole", ARNS["administrator"])


@pytest.mark.parametrize("role", ["plan", "apply"])
def test_the_runner_takes_terraforms_roles(role: str, world: World):
    assert world.may("runner", "sts:AssumeRole", ARNS[role])


def test_terraforms_roles_are_taken_by_the_runner_under_a_name_of_tfops(world: World):
    trust = statements(world.documents["terraform_trust"])
    assert all(each["Principal"] == {"AWS": ARNS["runner"]} for each in trust)

    def taken(name: str) -> bool:
        return bool(effects([trust], "sts:AssumeRole", "*", {"sts:RoleSessionName": name}))

    assert taken("tfops-prod.network=1a2b3c4d-0a1b2c3d")
    assert not taken("somebody")
    assert effects([trust], "sts:TagSession", "*", {}) == {"Allow"}


@pytest.mark.parametrize("role", ["plan", "apply"])
@pytest.mark.parametrize("key", STORE)
def test_terraform_never_reaches_the_store(role: str, key: str, world: World):
    assert not world.reads(role, key)
    assert not world.may(role, "s3:GetObjectVersion", f"{BUCKET}/{key}")
    assert not world.creates(role, key)
    assert not world.deletes(role, key)


@pytest.mark.parametrize("role", ["plan", "apply"])
def test_terraform_lists_states_and_no_other_names(role: str, world: World):
    assert world.lists(role, "infra-state/")
    assert world.lists(role, "infra-state/prod/network/")
    # S3 takes a missing object's own key for the prefix when it chooses between "missing" and "forbidden".
    assert world.lists(role, STATE)
    for prefix in ("infra/", "infra", "inf", "", "infra/prod/plans/"):
        assert not world.lists(role, prefix)
    assert not world.may(role, "s3:ListBucket", BUCKET)
    assert not world.may(role, "s3:ListBucketVersions", BUCKET)


def test_a_plan_reads_states_and_writes_nothing(world: World):
    assert world.reads("plan", STATE)
    for key in (STATE, f"{STATE}.tflock"):
        assert not world.creates("plan", key)
        assert not world.deletes("plan", key)


def test_a_plan_writes_no_state_even_where_your_policy_would_let_it(evaluated: dict[str, dict[str, str]]):
    careless = World(evaluated["github"])
    careless.attached["plan"] = EVERYTHING
    assert not careless.creates("plan", STATE)
    assert not careless.deletes("plan", STATE)
    assert careless.reads("plan", STATE)


def test_an_apply_reads_writes_and_locks_states_and_keeps_their_older_versions(world: World):
    for key in (STATE, f"{STATE}.tflock"):
        assert world.reads("apply", key)
        assert world.creates("apply", key)
        assert world.writes("apply", key)
        assert world.deletes("apply", key)
    for action in ("s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutObjectTagging"):
        assert not world.may("apply", action, f"{BUCKET}/{STATE}")


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("s3:PutBucketPolicy", BUCKET),
        ("s3:DeleteBucket", BUCKET),
        ("s3:PutLifecycleConfiguration", BUCKET),
        ("s3:PutBucketVersioning", BUCKET),
        ("iam:UpdateAssumeRolePolicy", ARNS["runner"]),
        ("iam:PassRole", ARNS["runner"]),
        ("sts:AssumeRole", ARNS["runner"]),
        ("iam:DeleteRolePolicy", ARNS["apply"]),
        ("iam:DetachRolePolicy", ARNS["plan"]),
        (
            "iam:AddClientIDToOpenIDConnectProvider",
            f"arn:aws:iam::{ACCOUNT}:oidc-provider/token.actions.githubusercontent.com",
        ),
    ],
)
def test_an_apply_that_may_do_everything_cannot_change_what_tfops_stands_on(action: str, resource: str, world: World):
    assert world.may("administrator", action, resource)
    assert not world.may("apply", action, resource)


@pytest.mark.parametrize("who", ARNS)
def test_only_the_runner_signs(who: str, world: World):
    signs = world.may_use(who, "kms:Sign", SIGNING_KEY, **{"kms:SigningAlgorithm": "ECDSA_SHA_256"})
    assert signs == (who == "runner")


def test_the_public_key_is_for_the_runner_and_for_who_writes_it_into_the_repository(world: World):
    assert world.may_use("runner", "kms:GetPublicKey", SIGNING_KEY)
    assert world.may_use("administrator", "kms:GetPublicKey", SIGNING_KEY)


@pytest.mark.parametrize("key", [DATA_KEY, SIGNING_KEY])
@pytest.mark.parametrize("action", ["kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:DisableKey"])
def test_the_account_administers_the_keys_and_terraform_does_not(key: str, action: str, world: World):
    assert world.may_use("administrator", action, key)
    assert not world.may_use("apply", action, key)
    assert not world.may_use("runner", action, key)


@pytest.mark.parametrize("key", [DATA_KEY, SIGNING_KEY])
@pytest.mark.parametrize("action", ["kms:CreateGrant", "kms:Encrypt", "kms:ReEncryptFrom", "kms:Verify", "kms:Sign"])
def test_nobody_is_given_more_of_a_key_than_is_needed(key: str, action: str, world: World):
    assert not [who for who in ARNS if world.may_use(who, action, key)]


def test_the_data_key_is_used_through_s3_only(world: World):
    for who in ("runner", "plan", "apply", "reviewer"):
        assert world.may_use(who, "kms:Decrypt")
        assert not world.may_use(who, "kms:Decrypt", **{"kms:ViaService": "ssm.eu-west-1.amazonaws.com"})


@pytest.mark.parametrize("key", [*STORE, STATE])
def test_an_administrator_reads_nothing_without_changing_a_policy(key: str, world: World):
    assert not world.reads("administrator", key)


@pytest.mark.parametrize("key", REDACTED)
def test_a_reviewer_reads_redacted_plans(key: str, evaluated: dict[str, dict[str, str]]):
    plain = World(evaluated["github"])
    plain.attached["reviewer"] = []
    assert plain.reads("reviewer", key)
    assert plain.lists("reviewer", "infra/prod/network/plans/")


@pytest.mark.parametrize("key", [*(key for key in STORE if key not in REDACTED), STATE])
def test_a_reviewer_is_given_nothing_else(key: str, evaluated: dict[str, dict[str, str]]):
    plain = World(evaluated["github"])
    plain.attached["reviewer"] = []
    assert not plain.reads("reviewer", key)
    assert not plain.creates("reviewer", key)


@pytest.mark.parametrize("key", [*SECRETS, STATE])
def test_a_reviewer_who_may_read_all_of_s3_still_reads_no_secret(key: str, world: World):
    assert not world.reads("reviewer", key)
    assert world.reads("reviewer", REDACTED[0])


def test_nothing_goes_over_an_open_line(world: World):
    for who in ARNS:
        assert not world.may(who, "s3:GetObject", f"{BUCKET}/{REDACTED[0]}", **{"aws:SecureTransport": "false"})
    assert not world.may("runner", "s3:ListBucket", BUCKET, **{"aws:SecureTransport": "false"})


SSE, SSE_KEY = "s3:x-amz-server-side-encryption", "s3:x-amz-server-side-encryption-aws-kms-key-id"
OTHER_KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/07e4"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {SSE: "aws:kms", SSE_KEY: DATA_KEY},
        {SSE: "aws:kms", SSE_KEY: "alias/tfops"},
        {SSE: "aws:kms", SSE_KEY: f"arn:aws:kms:eu-west-1:{ACCOUNT}:alias/tfops"},
    ],
)
def test_an_upload_with_the_data_key_passes(headers: dict[str, str], world: World):
    assert world.writes("runner", CHANGING[0], **headers)
    assert world.writes("apply", STATE, **headers)


@pytest.mark.parametrize(
    "headers",
    [
        {SSE: "AES256"},
        {SSE: "aws:kms"},
        {SSE: "aws:kms", SSE_KEY: OTHER_KEY},
        {SSE: "aws:kms:dsse", SSE_KEY: OTHER_KEY},
        {"s3:x-amz-server-side-encryption-customer-algorithm": "AES256"},
    ],
)
def test_an_upload_with_another_key_is_refused(headers: dict[str, str], world: World):
    assert not world.writes("runner", CHANGING[0], **headers)
    assert not world.writes("apply", STATE, **headers)


def test_the_model_of_iam_knows_a_denial_from_a_missing_permission():
    policy = [
        {"Effect": "Allow", "Action": "s3:*", "Resource": "arn:a*"},
        {"Effect": "Deny", "NotAction": "s3:Get*", "Resource": "*", "Condition": {"Null": {"s3:prefix": "true"}}},
    ]
    assert effects([policy], "s3:GetObject", "arn:a1", {}) == {"Allow"}
    assert effects([policy], "s3:PutObject", "arn:a1", {}) == {"Allow", "Deny"}
    assert effects([policy], "s3:PutObject", "arn:a1", {"s3:prefix": "x"}) == {"Allow"}
    assert effects([policy], "s3:GetObject", "arn:b", {}) == set()


# Documents


def examples(page: str, language: str) -> list[str]:
    """The fenced blocks of a language, without the indentation of a list."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", page, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indentation}", "", body, flags=re.MULTILINE) for indentation, body in found]


def table(page: str, heading: str) -> list[list[str]]:
    """The rows of the first table below a heading or a line, as cells."""
    rows = page.partition(f"\n{heading}\n")[2].lstrip("\n").partition("\n\n")[0].splitlines()[2:]
    assert rows, heading
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def words(cells: list[str]) -> list[str]:
    return [word for cell in cells for word in re.findall(r"`([^`]+)`", cell)]


def test_the_readme_names_every_variable_with_its_default():
    rows = {words(row[:1])[0]: row[1] for row in table(README, "## Inputs")}
    assert rows == {name: shown_default(body) for name, body in blocks("variable").items()}


def shown_default(variable: Mapping[str, Any]) -> str:
    if "default" not in variable:
        return "–"
    default = variable["default"]
    if default in (None, "null"):
        return "none"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def test_the_readme_names_every_output():
    assert set(words([row[0] for row in table(README, "## Outputs")])) == set(blocks("output"))


@pytest.mark.parametrize("page", [README, PAGE], ids=["README", "docs/aws.md"])
def test_the_calls_of_the_module_that_are_shown_fit_its_variables(page: str):
    (example,) = examples(page, "terraform")
    (call,) = unquoted(hcl2.loads(example))["module"]
    given = call["tfops"].keys() - {"source"}
    required = {name for name, body in blocks("variable").items() if "default" not in body}
    assert required <= given <= set(blocks("variable"))
    assert set(re.findall(r"\bmodule\.tfops\.(\w+)", example)) <= set(blocks("output"))


@pytest.mark.parametrize("example", examples(PAGE, "hcl"))
def test_the_configurations_that_are_shown_are_hcl_and_give_terraform_both_roles(example: str):
    (environment,) = [block for block in parse_body(example, "tfops.hcl").blocks if block.type == "environment"]
    (roles,) = [block for block in environment.body.blocks if block.type == "aws"]
    assert values(roles).keys() == {"plan_role", "apply_role"}


@pytest.mark.parametrize("example", examples(PAGE, "json"))
def test_the_policies_that_are_shown_are_json(example: str):
    assert json.loads(example)["Version"] == "2012-10-17"


def actions(document: str) -> set[str]:
    return {action for statement in allows(document) for action in listed(statement["Action"])}


def key_actions(evaluated: Mapping[str, str], who: str) -> set[str]:
    """What the keys' policies allow a role by name."""
    return {
        action
        for name in KEY_POLICIES
        for statement in allows(evaluated[name])
        if ARNS[who] in listed(statement["Principal"]["AWS"])
        for action in listed(statement["Action"])
    }


def test_the_permissions_that_are_listed_are_those_that_are_granted(evaluated: dict[str, dict[str, str]]):
    documents = evaluated["github"]
    own = set(words([row[0] for row in table(PAGE, "tfops itself:")]))
    plan = set(words([row[0] for row in table(PAGE, "Terraform in the plan role:")]))
    apply = plan | set(words([row[0] for row in table(PAGE, "Terraform in the apply role: the same, and")]))
    unused = {"s3:GetObjectVersion", "s3:ListBucketVersions", "sts:TagSession"}
    assert all(f"`{action}`" in PAGE for action in unused)
    assert own | unused == actions(documents["runner_policy"]) | key_actions(documents, "runner")
    assert plan == actions(documents["plan_policy"]) | key_actions(documents, "plan")
    assert apply == actions(documents["apply_policy"]) | key_actions(documents, "apply")
