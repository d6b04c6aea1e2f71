"""Terraform gets temporary credentials of a role, only them, and nothing else is left lying about."""

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.servers.moto import Moto
from tfops.adapters.credentials import Role, assume, identity, session_name, store_denied_policy, without_credentials
from tfops.errors import FailedError, Problem

DEPLOY = "arn:aws:iam::123456789012:role/deploy"
BASE = "arn:aws:iam::123456789012:role/base"
RUN_ID = "20261123T101112Z-0123abcd"
VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with Moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def environ(moto, tmp_path) -> dict[str, str]:
    return {**moto.environ, "HOME": str(tmp_path), "AWS_ENDPOINT_URL_STS": moto.endpoint}


def jwt(**claims: str) -> str:
    parts = ({"alg": "none"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join([*encoded, "the-secret-signature"])


TOKEN = jwt(iss="https://ci.example", sub="repo:acme/infra:ref:refs/heads/main", aud="sts.amazonaws.com")


@pytest.fixture
def token_file(tmp_path) -> str:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    return str(path)


def take(environ: dict[str, str], role: Role | None = None, policy: str | None = None) -> dict[str, str]:
    return assume(role or Role(arn=DEPLOY), session_name=f"tfops-prod-{RUN_ID}", policy=policy, environ=environ)


def fault(act: Callable[[], object]) -> Problem:
    """What a person is told: it says what to do next, and holds no secret."""
    with pytest.raises(FailedError) as refused:
        act()
    (problem,) = refused.value.problems
    assert problem.hint
    assert "secret" not in problem.message + problem.hint
    return problem


Answer = tuple[int, str]


class FakeSts:
    """An STS that answers what the test says, and remembers what it was asked."""

    def __init__(self, answers: dict[str, Answer]) -> None:
        self.asked: list[dict[str, str]] = []
        self.signed_for: list[str] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                asked = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                fake.asked.append(asked)
                fake.signed_for.append(self.headers.get("Authorization", ""))
                status, answer = answers[asked["Action"]]
                self.send_response(status)
                self.send_header("Content-Type", "text/xml")
                self.send_header("Content-Length", str(len(answer.encode())))
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def anonymous(self) -> dict[str, str]:
        return {
            "HOME": "/nowhere",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server.server_port}",
        }

    @property
    def environ(self) -> dict[str, str]:
        return {
            **self.anonymous,
            "AWS_ACCESS_KEY_ID": "AKIA",
            "AWS_SECRET_ACCESS_KEY": "the-secret-key",
            "AWS_SESSION_TOKEN": "the-secret-token",
        }


@contextmanager
def sts_that_answers(**answers: Answer) -> Iterator[FakeSts]:
    fake = FakeSts(answers)
    thread = threading.Thread(target=fake.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        fake.server.shutdown()
        fake.server.server_close()
        thread.join()


def given_credentials(operation: str) -> Answer:
    fields = {
        "AccessKeyId": "ASIATEMPORARY",
        "SecretAccessKey": "temporary key",
        "SessionToken": "temporary token",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    result = f"<{operation}Result><Credentials>{inner}</Credentials></{operation}Result>"
    return 200, f"<{operation}Response>{result}</{operation}Response>"


def error(code: str, message: str = "no", status: int = 403) -> Answer:
    return status, f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"


CALLER = (
    200,
    "<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::111122223333:user/ci</Arn>"
    "</GetCallerIdentityResult></GetCallerIdentityResponse>",
)


def test_a_taken_role_is_who_terraform_is_to_aws(environ):
    taken = take(environ)
    who = identity(without_credentials(environ) | taken, region="us-east-1")
    assert who == f"arn:aws:sts::123456789012:assumed-role/deploy/tfops-prod-{RUN_ID}"
    assert who != identity(environ, region="us-east-1")


@pytest.mark.parametrize("by_token", [False, True])
def test_a_role_is_three_variables_and_no_more(environ, token_file, by_token):
    taken = take(environ, Role(arn=DEPLOY, web_identity_token_file=token_file if by_token else None))
    assert set(taken) == set(VARIABLES)
    assert all(taken.values())


def test_a_role_is_asked_for_as_it_is_configured():
    role = Role(arn=DEPLOY, external_id="acme", duration_seconds=900)
    with sts_that_answers(AssumeRole=given_credentials("AssumeRole")) as sts:
        taken = take(sts.environ, role, policy='{"Version":"2012-10-17"}')
    (asked,) = sts.asked
    assert asked == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": DEPLOY,
        "RoleSessionName": f"tfops-prod-{RUN_ID}",
        "ExternalId": "acme",
        "DurationSeconds": "900",
        "Policy": '{"Version":"2012-10-17"}',
    }
    assert taken == {
        "AWS_ACCESS_KEY_ID": "ASIATEMPORARY",
        "AWS_SECRET_ACCESS_KEY": "temporary key",
        "AWS_SESSION_TOKEN": "temporary token",
    }


def test_what_is_not_configured_is_not_asked_for():
    with sts_that_answers(AssumeRole=given_credentials("AssumeRole")) as sts:
        take(sts.environ)
    assert set(sts.asked[0]) == {"Action", "Version", "RoleArn", "RoleSessionName"}


def test_a_token_file_of_the_role_takes_it_without_our_credentials(token_file):
    role = Role(arn=DEPLOY, web_identity_token_file=token_file, duration_seconds=900)
    answer = given_credentials("AssumeRoleWithWebIdentity")
    with sts_that_answers(AssumeRoleWithWebIdentity=answer) as sts:
        take(sts.environ, role, policy="{}")
    (asked,) = sts.asked
    assert (asked["RoleArn"], asked["WebIdentityToken"], asked["Policy"]) == (DEPLOY, TOKEN, "{}")
    assert (asked["RoleSessionName"], asked["DurationSeconds"]) == (f"tfops-prod-{RUN_ID}", "900")
    assert sts.signed_for == [""]


@pytest.mark.parametrize("with_role", [False, True])
def test_a_token_of_the_environment_takes_the_role_where_there_are_no_keys(token_file, with_role):
    given = {"AWS_WEB_IDENTITY_TOKEN_FILE": token_file} | ({"AWS_ROLE_ARN": DEPLOY} if with_role else {})
    with sts_that_answers(AssumeRoleWithWebIdentity=given_credentials("AssumeRoleWithWebIdentity")) as sts:
        take(sts.anonymous | given)
    assert [asked["RoleArn"] for asked in sts.asked] == [DEPLOY]


def test_keys_of_the_environment_go_before_its_token(token_file):
    with sts_that_answers(AssumeRole=given_credentials("AssumeRole")) as sts:
        take(sts.environ | {"AWS_WEB_IDENTITY_TOKEN_FILE": token_file})
    assert "Credential=AKIA/" in sts.signed_for[0]


@pytest.mark.parametrize("external_id", [None, "acme"])
def test_a_token_for_another_role_gives_that_role_and_with_it_ours(token_file, external_id):
    """As AWS's own tools do it, e.g. in a pod with a role of its own."""
    given = {"AWS_WEB_IDENTITY_TOKEN_FILE": token_file, "AWS_ROLE_ARN": BASE, "AWS_ROLE_SESSION_NAME": "pod"}
    answers = {name: given_credentials(name) for name in ("AssumeRoleWithWebIdentity", "AssumeRole")}
    with sts_that_answers(**answers) as sts:
        take(sts.anonymous | given, Role(arn=DEPLOY, external_id=external_id))
    first, second = sts.asked
    assert (first["Action"], first["RoleArn"]) == ("AssumeRoleWithWebIdentity", BASE)
    assert (first["RoleSessionName"], first["WebIdentityToken"].strip()) == ("pod", TOKEN)
    assert (second["Action"], second["RoleArn"], second.get("ExternalId")) == ("AssumeRole", DEPLOY, external_id)
    assert "Credential=ASIATEMPORARY/" in sts.signed_for[1]


def test_a_profile_of_the_environment_gives_our_credentials(environ, tmp_path):
    (tmp_path / "here").write_text("[ci]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = x\n")
    with sts_that_answers(AssumeRole=given_credentials("AssumeRole")) as sts:
        take(sts.anonymous | {"AWS_PROFILE": "ci", "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "here")})
    assert "Credential=AKIAPROFILE/" in sts.signed_for[0]


def test_the_default_profile_is_the_one_below_the_home_of_the_environment(tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text("[default]\naws_access_key_id = AKIAHOME\naws_secret_access_key = x\n")
    (tmp_path / ".aws/config").write_text("[default]\nregion = eu-south-1\n")
    with sts_that_answers(AssumeRole=given_credentials("AssumeRole")) as sts:
        take(sts.anonymous | {"HOME": str(tmp_path)})
    assert "Credential=AKIAHOME/" in sts.signed_for[0]
    assert "/eu-south-1/sts/" in sts.signed_for[0]


@pytest.mark.parametrize(
    ("arn", "variables", "region"),
    [
        (DEPLOY, {}, "us-east-1"),
        (DEPLOY, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-1"),
        (DEPLOY, {"AWS_DEFAULT_REGION": "eu-west-2"}, "eu-west-2"),
        ("arn:aws-cn:iam::123456789012:role/deploy", {}, "cn-north-1"),
        ("arn:aws-us-gov:iam::123456789012:role/deploy", {}, "us-gov-west-1"),
        ("just-a-role-of-twenty-characters", {}, "us-east-1"),
    ],
)
def test_sts_is_asked_in_the_region_of_the_environment_else_of_the_role(arn, variables, region):
    with sts_that_answers(AssumeRole=given_credentials("AssumeRole")) as sts:
        take(sts.environ | variables, Role(arn=arn))
    assert f"/{region}/sts/" in sts.signed_for[0]


def test_nothing_is_written_below_the_home_directory(environ, tmp_path):
    take(environ)
    identity(environ, region=None)
    assert list(tmp_path.iterdir()) == []


def test_without_credentials_a_role_is_not_taken(environ, monkeypatch):
    """Those of the process itself are not taken."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, environ[name])
    problem = fault(lambda: take(without_credentials(environ)))
    assert problem.code == "aws.no_credentials"
    assert "AWS_ACCESS_KEY_ID" in problem.hint


@pytest.mark.parametrize(
    "variables",
    [
        {"AWS_ACCESS_KEY_ID": "AKIA"},
        {"AWS_PROFILE": "not-there"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/not/there"},
        {"AWS_WEB_IDENTITY_TOKEN_FILE": "/not/there", "AWS_ROLE_ARN": BASE},
        {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/role"},
    ],
    ids=lambda variables: "+".join(variables),
)
def test_credentials_that_cannot_be_had_are_told_as_such(environ, variables):
    problem = fault(lambda: take(without_credentials(environ) | variables))
    assert problem.code == "aws.no_credentials"


def test_a_denied_role_names_who_we_are_the_role_and_both_permissions():
    text = f"User: arn:aws:iam::111122223333:user/ci is not authorized to perform: sts:AssumeRole on resource: {DEPLOY}"
    with sts_that_answers(AssumeRole=error("AccessDenied", text), GetCallerIdentity=CALLER) as sts:
        problem = fault(lambda: take(sts.environ, Role(arn=DEPLOY, external_id="acme")))
    assert problem.code == "aws.assume_denied"
    assert problem.message.startswith(f"arn:aws:iam::111122223333:user/ci cannot take the role {DEPLOY}: AccessDenied")
    assert "allow arn:aws:iam::111122223333:user/ci sts:AssumeRole" in problem.hint
    assert "trust policy, with the external id" in problem.hint


def test_a_denied_role_is_told_even_where_nobody_says_who_we_are():
    with sts_that_answers(AssumeRole=error("AccessDenied"), GetCallerIdentity=error("AccessDenied")) as sts:
        problem = fault(lambda: take(sts.environ))
    assert (problem.code, problem.message.startswith("the caller cannot")) == ("aws.assume_denied", True)


def test_a_denied_token_names_what_a_trust_policy_asks_for(token_file):
    denied = error("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    with sts_that_answers(AssumeRoleWithWebIdentity=denied) as sts:
        problem = fault(lambda: take(sts.environ, Role(arn=DEPLOY, web_identity_token_file=token_file)))
    assert problem.code == "aws.assume_denied"
    for claim in ("https://ci.example", "repo:acme/infra:ref:refs/heads/main", "sts.amazonaws.com", DEPLOY):
        assert claim in problem.message
    assert "sts:AssumeRoleWithWebIdentity" in problem.hint


@pytest.mark.parametrize("token", ["", "the-secret-of-another-kind", "a.b.the-secret", f"a.{'e30'}.the-secret"])
def test_a_token_that_says_nothing_of_itself_is_denied_all_the_same(tmp_path, token):
    (tmp_path / "token").write_text(token)
    role = Role(arn=DEPLOY, web_identity_token_file=str(tmp_path / "token"))
    with sts_that_answers(AssumeRoleWithWebIdentity=error("AccessDenied")) as sts:
        problem = fault(lambda: take(sts.environ, role))
    assert (problem.code, "cannot be read" in problem.message) == ("aws.assume_denied", True)


def test_a_denied_role_of_our_own_is_a_matter_of_our_credentials(token_file):
    given = {"AWS_WEB_IDENTITY_TOKEN_FILE": token_file, "AWS_ROLE_ARN": BASE}
    with sts_that_answers(AssumeRoleWithWebIdentity=error("AccessDenied")) as sts:
        assert fault(lambda: take(sts.anonymous | given)).code == "aws.no_credentials"


def test_what_aws_finds_wrong_with_a_request_is_passed_on():
    wrong = error("ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration", status=400)
    with sts_that_answers(AssumeRole=wrong, GetCallerIdentity=CALLER) as sts:
        problem = fault(lambda: take(sts.environ))
    assert problem.code == "aws.assume_denied"
    assert "exceeds the MaxSessionDuration" in problem.message


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (error("ExpiredToken"), "aws.no_credentials"),
        (error("ExpiredTokenException"), "aws.no_credentials"),
        (error("InvalidClientTokenId"), "aws.no_credentials"),
        (error("InvalidIdentityToken"), "aws.no_credentials"),
        (error("SignatureDoesNotMatch", "x-amz-security-token:half-the-secret"), "aws.no_credentials"),
        (error("Throttling", status=400), "aws.unreachable"),
        (error("IDPCommunicationError", status=400), "aws.unreachable"),
        (error("InternalFailure", status=500), "aws.unreachable"),
        ((503, "<html>the-secret-key</html>"), "aws.unreachable"),
        ((200, "<html>"), "aws.unreachable"),
        (error("AccessDenied", "you said the-secret-key and the-secret-token"), "aws.assume_denied"),
    ],
)
@pytest.mark.parametrize("by_token", [False, True])
def test_every_refusal_is_explained_without_a_secret(token_file, by_token, answer, code):
    role = Role(arn=DEPLOY, web_identity_token_file=token_file if by_token else None)
    with sts_that_answers(AssumeRole=answer, AssumeRoleWithWebIdentity=answer, GetCallerIdentity=CALLER) as sts:
        assert fault(lambda: take(sts.environ, role)).code == code


@pytest.mark.parametrize("code", ["InvalidIdentityToken", "AccessDenied", "ValidationError"])
def test_a_token_that_aws_quotes_is_not_passed_on(token_file, code):
    role = Role(arn=DEPLOY, web_identity_token_file=token_file)
    with sts_that_answers(AssumeRoleWithWebIdentity=error(code, f"{TOKEN} is no good")) as sts:
        assert "… is no good" in fault(lambda: take(sts.environ, role)).message


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:1", "nonsense"])
@pytest.mark.parametrize("act", [take, lambda environ: identity(environ, region="eu-west-1")])
def test_an_sts_out_of_reach_is_told_as_such(environ, endpoint, act):
    problem = fault(lambda: act(environ | {"AWS_ENDPOINT_URL_STS": endpoint}))
    assert (problem.code, "AWS_ENDPOINT_URL_STS" in problem.hint) == ("aws.unreachable", True)


def test_who_we_are_is_unknown_without_credentials(environ):
    assert fault(lambda: identity(without_credentials(environ), region=None)).code == "aws.no_credentials"


@pytest.mark.parametrize(
    "name",
    [
        *VARIABLES,
        *("AWS_SECURITY_TOKEN", "AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_PROFILE", "AWS_DEFAULT_PROFILE"),
        *("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_ROLE_SESSION_NAME", "AWS_CREDENTIAL_EXPIRATION"),
        *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
        *("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_BEARER_TOKEN_BEDROCK", "BOTO_CONFIG"),
    ],
)
def test_no_way_to_credentials_is_left(name):
    kept = {"PATH": "/bin", "AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://x", "TF_VAR_x": "1"}
    assert without_credentials(kept | {name: "x"}) == kept


def test_without_credentials_aws_knows_nobody(environ):
    assert fault(lambda: identity(without_credentials(environ), region=None)).code == "aws.no_credentials"


STACKS = st.text(st.sampled_from("abz019/._-@=+ é,"), max_size=90) | st.text(max_size=90)


@given(STACKS)
@example("prod/network")
@example("x" * 500)
def test_a_session_name_is_one_that_sts_takes_and_holds_the_whole_run(stack):
    name = session_name(stack, RUN_ID)
    assert re.fullmatch(r"[\w+=,.@-]{2,64}", name, re.ASCII)
    assert name.startswith("tfops-")
    assert name.endswith(f"-{RUN_ID}")


@given(STACKS, STACKS)
@example("prod/network", "prod.network")
@example("prod/network", "prod-network")
@example("x" * 100, "x" * 101)
@example("prod/a", session_name("prod/a", RUN_ID).removeprefix("tfops-").removesuffix(f"-{RUN_ID}"))
def test_different_stacks_have_different_session_names(one, other):
    assert (session_name(one, RUN_ID) == session_name(other, RUN_ID)) == (one == other)


@given(STACKS, st.text("0123456789abcdefTZ-", min_size=1, max_size=48))
def test_a_session_name_has_room_for_other_run_ids(stack, run_id):
    name = session_name(stack, run_id)
    assert len(name) <= 64
    assert name.endswith(f"-{run_id}")


def test_a_short_stack_stands_in_the_session_name_as_it_is():
    assert session_name("prod", RUN_ID) == f"tfops-prod-{RUN_ID}"
    assert session_name("preview@x-1", RUN_ID) == f"tfops-preview@x-1-{RUN_ID}"
    assert session_name("prod/network", RUN_ID).startswith("tfops-prod.network=")


def denied(policy: str) -> re.Pattern[str]:
    """The objects that a policy denies, read as IAM reads a resource."""
    allowed, refused = json.loads(policy)["Statement"]
    assert allowed == {"Effect": "Allow", "Action": "*", "Resource": "*"}
    assert (refused["Effect"], refused["Action"]) == ("Deny", "s3:*")
    arn = refused["Resource"].removeprefix("arn:aws:s3:::")
    special = {"*": ".*", "?": ".", "${*}": r"\*", "${?}": r"\?", "${$}": r"\$"}
    tokens = re.findall(r"\$\{[*?$]\}|.", arn, re.DOTALL)
    return re.compile("".join(special.get(token, re.escape(token)) for token in tokens), re.DOTALL)


@given(st.text(min_size=1, max_size=100).map(lambda text: text.strip("/")).filter(bool))
@example("infra")
@example("a*b?c$d${aws:username}")
def test_the_policy_denies_the_store_and_not_the_states_beside_it(prefix):
    objects = denied(store_denied_policy(bucket="acme-tfops", prefix=prefix))
    assert objects.fullmatch(f"acme-tfops/{prefix}/prod/head.json")
    assert not objects.fullmatch(f"acme-tfops/{prefix}-state/prod.tfstate")
    assert not objects.fullmatch(f"acme-tfops/x{prefix}/prod/head.json")


@pytest.mark.parametrize("prefix", ["", "/"])
def test_a_store_without_prefix_is_the_whole_bucket(prefix):
    assert denied(store_denied_policy(bucket="b", prefix=prefix)).fullmatch("b/store.json")


@pytest.mark.parametrize("prefix", ["infra/", "/infra", "/infra/"])
def test_slashes_around_the_prefix_do_not_open_the_store(prefix):
    assert denied(store_denied_policy(bucket="b", prefix=prefix)).fullmatch("b/infra/store.json")


def test_the_policy_keeps_below_the_limit_of_sts():
    policy = store_denied_policy(bucket="b" * 63, prefix="p" * 1024, partition="aws-us-gov")
    assert len(policy) < 2048
    assert "arn:aws-us-gov:s3:::" in policy


def test_a_role_is_taken_with_the_policy_of_the_store(environ):
    take(environ, policy=store_denied_policy(bucket="acme-tfops", prefix="infra"))


def test_a_token_of_the_environment_is_who_we_are(environ, token_file):
    """Our own calls, e.g. to KMS, find it as well."""
    given = {"AWS_WEB_IDENTITY_TOKEN_FILE": token_file, "AWS_ROLE_ARN": BASE, "AWS_ROLE_SESSION_NAME": "pod"}
    who = identity(without_credentials(environ) | given, region=None)
    assert who == "arn:aws:sts::123456789012:assumed-role/base/pod"
    assert Path(token_file).read_text() == f"{TOKEN}\n"
