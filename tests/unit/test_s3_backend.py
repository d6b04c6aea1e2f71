"""Terraform's s3 backend as values: one object has one identity, and nothing secret is ever written down."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.s3_backend import S3Backend, Scalar, read_backend

PART = st.text("abcé-_./", min_size=1, max_size=6)
WORKSPACE = st.sampled_from(["default", "blue", "preview-x-1"])
NO_CREDENTIALS = ("access_key", "secret_key", "token", "profile", "shared_credentials_files")


def backend(**settings: Scalar) -> S3Backend:
    found = read_backend({"bucket": "b", "key": "live/app.tfstate", **settings})
    assert found is not None
    return found


class TestObjects:
    """Which object a workspace's state is, as Terraform names it."""

    @pytest.mark.parametrize(
        ("workspace", "settings", "key"),
        [
            ("default", {}, "live/app.tfstate"),
            ("default", {"workspace_key_prefix": "w"}, "live/app.tfstate"),
            ("blue", {}, "env:/blue/live/app.tfstate"),
            ("blue", {"workspace_key_prefix": "w"}, "w/blue/live/app.tfstate"),
            ("blue", {"workspace_key_prefix": "a/b"}, "a/b/blue/live/app.tfstate"),
            ("blue", {"workspace_key_prefix": ""}, "blue/live/app.tfstate"),
        ],
    )
    def test_each_workspace_has_an_object_of_its_own(self, workspace, settings, key):
        assert backend(**settings).object_key(workspace) == key

    @given(PART, WORKSPACE, WORKSPACE)
    def test_two_workspaces_never_share_one(self, prefix, one, other):
        found = backend(workspace_key_prefix=prefix)
        assert (found.object_key(one) == found.object_key(other)) is (one == other)


class TestIdentity:
    def test_it_is_the_object(self):
        assert backend().identity("default") == "s3://b/live/app.tfstate"
        assert backend().identity("blue") == "s3://b/env:/blue/live/app.tfstate"

    @pytest.mark.parametrize(
        "settings",
        [
            {"region": "eu-west-1"},
            {"kms_key_id": "alias/x", "encrypt": True},
            {"use_lockfile": True, "use_path_style": True},
            {"role_arn": "arn:a", "session_name": "s", "external_id": "e"},
            {"assume_role.role_arn": "arn:b"},
            {"access_key": "AKIA", "secret_key": "hush"},
            {"dynamodb_table": "locks"},
            {"workspace_key_prefix": "w"},
        ],
        ids=lambda settings: next(iter(settings)),
    )
    def test_how_one_gets_there_makes_no_other_state(self, settings):
        assert backend(**settings).identity("default") == backend().identity("default")

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (({"endpoint": "http://x:1"}, "default"), ({"endpoints.s3": "http://x:1"}, "default")),
            (({"endpoint": "http://x:1/"}, "default"), ({"endpoint": "http://x:1"}, "default")),
            (({"key": "k"}, "blue"), ({"key": "env:/blue/k"}, "default")),
            (({"key": "k", "workspace_key_prefix": "w"}, "blue"), ({"key": "w/blue/k"}, "default")),
            (
                ({"key": "blue/k", "workspace_key_prefix": "w"}, "x"),
                ({"key": "k", "workspace_key_prefix": "w/x"}, "blue"),
            ),
        ],
    )
    def test_two_spellings_of_one_object_are_one_state(self, one, other):
        identities = {backend(**settings).identity(workspace) for settings, workspace in (one, other)}
        assert len(identities) == 1

    @pytest.mark.parametrize("settings", [{"bucket": "b2"}, {"key": "k2"}, {"endpoint": "http://elsewhere"}])
    def test_another_bucket_key_or_server_is_another_state(self, settings):
        assert backend(**settings).identity("default") != backend().identity("default")

    @given(st.dictionaries(st.sampled_from(NO_CREDENTIALS), st.just("hush")))
    def test_no_credentials_stand_in_it(self, settings):
        assert "hush" not in backend(**settings).identity("blue")


class TestReading:
    @pytest.mark.parametrize(
        "settings", [{}, {"bucket": "b"}, {"key": "k"}, {"bucket": "", "key": "k"}, {"bucket": "b", "key": ""}]
    )
    def test_without_bucket_or_key_nothing_is_known(self, settings):
        assert read_backend(settings) is None

    def test_all_that_matters_is_read(self):
        assert backend(
            **{
                "region": "eu-west-1",
                "endpoints.s3": "http://x",
                "use_path_style": True,
                "workspace_key_prefix": "w",
                "kms_key_id": "alias/x",
                "assume_role.role_arn": "arn:r",
                "assume_role.external_id": "e",
                "use_lockfile": True,
            }
        ) == S3Backend(
            bucket="b",
            key="live/app.tfstate",
            region="eu-west-1",
            endpoint="http://x",
            use_path_style=True,
            workspace_key_prefix="w",
            kms_key_id="alias/x",
            role_arn="arn:r",
            external_id="e",
            use_lockfile=True,
            is_followed=True,
        )

    @pytest.mark.parametrize(
        ("new", "old", "field"),
        [
            ("endpoints.s3", "endpoint", "endpoint"),
            ("assume_role.role_arn", "role_arn", "role_arn"),
            ("assume_role.external_id", "external_id", "external_id"),
        ],
    )
    def test_where_a_setting_is_given_in_its_old_and_its_new_form_the_new_one_counts(self, new, old, field):
        assert getattr(backend(**{old: "old"}), field) == "old"
        assert getattr(backend(**{old: "old", new: "new"}), field) == "new"

    @pytest.mark.parametrize(
        ("value", "is_true"), [(True, True), ("true", True), (False, False), ("false", False), ("", False)]
    )
    @pytest.mark.parametrize("name", ["use_lockfile", "use_path_style", "force_path_style"])
    def test_a_switch_may_come_as_text_from_a_partial_configuration(self, name, value, is_true):
        found = backend(**{name: value})
        assert (found.use_lockfile if name == "use_lockfile" else found.use_path_style) is is_true

    @pytest.mark.parametrize(
        "name",
        [
            *("region", "endpoint", "use_lockfile", "kms_key_id", "encrypt", "acl", "dynamodb_table", "max_retries"),
            *("skip_metadata_api_check", "skip_requesting_account_id", "assume_role.session_name"),
        ],
    )
    def test_what_it_understands_is_followed(self, name):
        assert backend(**{name: "x"}).is_followed

    @pytest.mark.parametrize(
        "name",
        [
            *("profile", "access_key", "secret_key", "token", "shared_credentials_files", "sse_customer_key"),
            *("assume_role_with_web_identity.role_arn", "assume_role.policy", "endpoints.sts", "custom_ca_bundle"),
            *("http_proxy", "use_fips_endpoint", "use_dualstack_endpoint", "something_new"),
        ],
    )
    def test_what_it_does_not_understand_is_left_to_terraform(self, name):
        """It would read another object than Terraform, or none, with other credentials."""
        assert not backend(**{name: "x"}).is_followed

    @given(st.dictionaries(st.text(), st.text() | st.integers() | st.booleans() | st.floats(), max_size=6))
    def test_no_settings_whatsoever_do_more_than_not_be_followed(self, settings):
        found = read_backend({"bucket": "b", "key": "k", **settings})
        assert found is None or isinstance(found, S3Backend)


MANAGED = S3Backend(bucket="b", key="p-state/prod/terraform.tfstate", workspace_key_prefix="p-state/prod/w")


def written(one: S3Backend, *, policy: str | None = None) -> dict[str, object]:
    document = json.loads(one.override(session_name="tfops-prod-state", state_policy=policy))
    assert list(document) == ["terraform"]
    assert list(document["terraform"]["backend"]) == ["s3"]
    found: dict[str, object] = document["terraform"]["backend"]["s3"]
    return found


class TestOverride:
    """The backend tfops writes beside code that has none."""

    def test_the_shortest_says_where_the_state_lies_and_that_it_is_locked(self):
        assert written(MANAGED) == {
            "bucket": "b",
            "key": "p-state/prod/terraform.tfstate",
            "workspace_key_prefix": "p-state/prod/w",
            "use_lockfile": True,
        }

    def test_a_key_of_ones_own_encrypts_it(self):
        found = written(replace(MANAGED, kms_key_id="alias/x", region="eu-west-1"))
        assert (found["kms_key_id"], found["encrypt"], found["region"]) == ("alias/x", True, "eu-west-1")

    def test_another_server_is_not_taken_for_aws(self):
        found = written(replace(MANAGED, endpoint="http://x:1", use_path_style=True))
        assert (found["endpoints"], found["use_path_style"]) == ({"s3": "http://x:1"}, True)
        assert all(value is True for name, value in found.items() if name.startswith("skip_"))
        assert sum(name.startswith("skip_") for name in found) == 4

    def test_aws_itself_is_asked_as_usual(self):
        assert not any(name.startswith("skip_") for name in written(MANAGED))

    @pytest.mark.parametrize(
        ("external_id", "policy", "more"),
        [
            (None, None, {}),
            ("e", None, {"external_id": "e"}),
            (None, "{}", {"policy": "{}"}),
            ("e", "{}", {"external_id": "e", "policy": "{}"}),
        ],
    )
    def test_the_stores_role_is_taken_for_it_and_limited(self, external_id, policy, more):
        found = written(replace(MANAGED, role_arn="arn:r", external_id=external_id), policy=policy)
        assert found["assume_role"] == {"role_arn": "arn:r", "session_name": "tfops-prod-state", **more}

    def test_without_a_role_there_is_nothing_to_limit(self):
        assert "assume_role" not in written(MANAGED, policy="{}")

    def test_no_credentials_stand_in_it(self):
        everything = backend(
            **dict.fromkeys(NO_CREDENTIALS, "hush"), endpoint="http://x", kms_key_id="k", role_arn="arn:r"
        )
        assert b"hush" not in everything.override(session_name="s", state_policy="{}")

    @given(WORKSPACE, st.booleans(), st.sampled_from([None, "http://x"]))
    def test_what_terraform_reads_there_is_what_we_read(self, workspace, path_style, endpoint):
        """Or Terraform and tfops would look at two states."""
        one = replace(MANAGED, use_path_style=path_style, endpoint=endpoint, use_lockfile=True)
        found = written(one)
        endpoints = found.pop("endpoints", {})
        settings = {**found, **{f"endpoints.{name}": value for name, value in endpoints.items()}}
        again = read_backend(settings)
        assert again == one
        assert again.identity(workspace) == one.identity(workspace)
