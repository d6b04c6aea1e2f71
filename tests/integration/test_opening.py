"""A command begins with a revision, its configuration, its store and its key, or with a reason why not."""

import os
import stat
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from tests.fakes import DictTree
from tfops.adapters.git import Repository
from tfops.adapters.keys import generate, load_signer, public_pem
from tfops.adapters.objects import DirectoryObjects
from tfops.config import AwsRoles, Config, parse_config
from tfops.config_store import LocalStore, S3Store, StoreRole
from tfops.errors import ConfigError, FailedError, TfopsError, UsageError, VerificationError
from tfops.steps.caller import Caller
from tfops.steps.configuration import (
    default_key_uri,
    read_configuration,
    read_rules,
    remembered_config,
)
from tfops.steps.local_place import local_place
from tfops.steps.opening import Session, branch_of, name_of, now, open_session
from tfops.steps.store import create_store

ID = "0123456789abcdef" * 2
ENVIRONMENT = 'environment "prod" {\n  branch = "main"\n  roots = ["."]\n}\n'
IDENTITY = {
    **{f"GIT_{who}_{what}": "a@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_CONFIG_GLOBAL": os.devnull,
}


def git(directory: Path, *arguments: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **IDENTITY}
    done = subprocess.run(["git", *arguments], cwd=directory, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(directory: Path, files: dict[str, str | bytes]) -> str:
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", "x")
    return git(directory, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    directory = tmp_path / "repository"
    directory.mkdir()
    git(directory, "init", "-q", "-b", "main")
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def caller(directory: Path, home: Path, config_file: Path | None = None, **environ: str) -> Caller:
    return Caller(
        directory=directory,
        environ={"PATH": os.environ["PATH"], "HOME": str(home), **environ},
        config_file=config_file,
        stop=threading.Event(),
    )


def code(action, kind: type[TfopsError] = TfopsError) -> str:
    with pytest.raises(kind) as refused:
        action()
    problem = refused.value.problems[0]
    assert problem.hint
    return problem.code


class TestTheCaller:
    def test_places_follow_the_users_directories(self, tmp_path):
        one = caller(tmp_path, tmp_path / "me")
        assert one.cache == tmp_path / "me" / ".cache" / "tfops"
        assert one.state_home == tmp_path / "me" / ".local" / "state" / "tfops"
        other = caller(tmp_path, tmp_path, XDG_CACHE_HOME="/c", XDG_STATE_HOME="/s")
        assert (str(other.cache), str(other.state_home)) == ("/c/tfops", "/s/tfops")

    def test_a_passphrase_comes_from_the_environment_only(self, tmp_path):
        assert caller(tmp_path, tmp_path).key_passphrase is None
        assert caller(tmp_path, tmp_path, TFOPS_KEY_PASSPHRASE="x").key_passphrase == "x"

    def test_without_a_home_nothing_fails(self, tmp_path):
        assert Caller(directory=tmp_path, environ={}, stop=threading.Event()).home == Path("/")


class TestAChange:
    """What is planned for review is called what it is: this, merged into that."""

    @pytest.mark.parametrize(
        ("head", "name"),
        [("topic", "topic@"), ("refs/heads/topic", "topic@"), ("HEAD", "topic@"), ("COMMIT", ""), ("SHORT", "")],
    )
    def test_it_is_called_by_its_name_where_it_has_one(self, repository, head, name):
        base = commit(repository, {"a": ""})
        git(repository, "checkout", "-q", "-b", "topic")
        tip = commit(repository, {"b": ""})
        opened = Repository(repository, environ={"PATH": os.environ["PATH"]})
        spec = {"COMMIT": tip, "SHORT": tip[:8]}.get(head, head)
        found = opened.revision("main", spec)
        change = replace(found, base=base, change=name_of(opened, found, spec))
        assert str(change) == f"{name}{tip[:12]} merged into main@{base[:12]}"
        assert str(found) == f"main@{tip[:12]}"


class TestTheBranch:
    def branch(self, repository: Path, named: str | None = None, **environ: str) -> str:
        opened = Repository(repository, environ={"PATH": os.environ["PATH"]})
        return branch_of(opened, caller(repository, repository, **environ), named)

    def test_the_named_one_comes_first_then_the_one_checked_out(self, repository):
        commit(repository, {"a": ""})
        assert self.branch(repository, GITHUB_REF_NAME="other") == "main"
        assert self.branch(repository, "named") == "named"
        assert self.branch(repository, "refs/heads/named") == "named"

    @pytest.fixture
    def detached(self, repository: Path) -> Path:
        commit(repository, {"a": ""})
        git(repository, "checkout", "-q", "--detach")
        return repository

    @pytest.mark.parametrize(
        ("environ", "branch"),
        [
            ({"GITHUB_REF_NAME": "x", "GITHUB_REF_TYPE": "branch"}, "x"),
            ({"CI_COMMIT_BRANCH": "a/b"}, "a/b"),
            ({"BUILD_SOURCEBRANCH": "refs/heads/a/b"}, "a/b"),
            ({"BITBUCKET_BRANCH": "", "BRANCH_NAME": "x"}, "x"),
        ],
    )
    def test_a_pipeline_says_the_branch_of_a_detached_checkout(self, detached, environ, branch):
        assert self.branch(detached, **environ) == branch

    @pytest.mark.parametrize(
        "environ", [{}, {"CI_COMMIT_BRANCH": ""}, {"GITHUB_REF_NAME": "v1", "GITHUB_REF_TYPE": "tag"}]
    )
    def test_a_detached_checkout_without_a_branch_is_wrong_usage(self, detached, environ):
        assert code(lambda: self.branch(detached, **environ), UsageError) == "git.detached"


class TestTheConfiguration:
    def test_it_is_the_revisions_and_not_the_working_trees(self, repository, home):
        commit(repository, {"tfops.hcl": ENVIRONMENT})
        (repository / "tfops.hcl").write_text("broken {")
        assert open_session(caller(repository, home)).config.environments[0].name == "prod"

    def test_an_older_revision_has_its_own(self, repository, home):
        first = commit(repository, {"tfops.hcl": ENVIRONMENT})
        commit(repository, {"tfops.hcl": ENVIRONMENT.replace("prod", "other")})
        found = open_session(caller(repository, home), revision=first)
        assert (found.config.environments[0].name, found.revision.commit) == ("prod", first)

    def test_one_that_is_not_committed_is_missing_and_that_is_said(self, repository, home):
        commit(repository, {"a": ""})
        (repository / "tfops.hcl").write_text(ENVIRONMENT)
        with pytest.raises(ConfigError) as refused:
            open_session(caller(repository, home))
        (problem,) = refused.value.problems
        assert problem.code == "config.missing"
        assert "git add tfops.hcl" in problem.hint

    def test_none_at_all_points_to_init(self, repository, home):
        commit(repository, {"a": ""})
        with pytest.raises(ConfigError) as refused:
            open_session(caller(repository, home))
        assert "tfops init" in refused.value.problems[0].hint

    def test_a_named_file_takes_its_place(self, repository, home, tmp_path):
        commit(repository, {"tfops.hcl": "broken {"})
        (tmp_path / "mine.hcl").write_text(ENVIRONMENT)
        found = open_session(caller(repository, home, tmp_path / "mine.hcl"))
        assert found.config.environments[0].name == "prod"
        assert code(lambda: open_session(caller(repository, home, tmp_path / "gone.hcl"))) == "config.missing"

    def test_a_fault_is_told_with_its_line(self, repository, home):
        commit(repository, {"tfops.hcl": ENVIRONMENT + "surprise = 1\n"})
        with pytest.raises(ConfigError, match=r"tfops\.hcl:5"):
            open_session(caller(repository, home))

    def test_it_is_read_once_fetched(self, repository, home, tmp_path):
        commit(repository, {"tfops.hcl": ENVIRONMENT})
        git(tmp_path, "clone", "-q", str(repository), "clone")
        tip = commit(repository, {"tfops.hcl": ENVIRONMENT.replace("prod", "new")})
        stale = open_session(caller(tmp_path / "clone", home), fetch=False)
        fresh = open_session(caller(tmp_path / "clone", home))
        assert [one.config.environments[0].name for one in (stale, fresh)] == ["prod", "new"]
        assert fresh.revision.commit == tip

    RICH = (
        'environment "prod" {\n  branch = "x/*"\n  roots = ["a", "b/*"]\n  approval { count = 2 }\n'
        '  backend_config = { a = "${branch}", b = 1, c = true, d = 1.5, e = "true", f = "1", g = 2.0 }\n}\n'
        'stack "prod/a" { after = ["prod/b"] }\nmoved {\n  from = "prod/x"\n  to = "prod/y"\n}\n'
        'trust {\n  runner "ci" {\n    public_key = "k"\n  }\n}\nterraform { version = "~> 1.5" }\n'
    )

    def test_a_remembered_one_is_the_one_that_was_read(self, tmp_path):
        data = self.RICH.encode()
        first, again = remembered_config(data, tmp_path), remembered_config(data, tmp_path)
        assert first == again == parse_config(self.RICH)
        values = [[(type(value), value) for _, value in one.environments[0].backend_config] for one in (first, again)]
        assert values[0] == values[1]
        assert len(list(tmp_path.iterdir())) == 1

    def test_a_remembered_store_in_s3_and_all_that_is_aws_is_the_one_that_was_read(self, tmp_path):
        text = (
            f'store "s3" {{\n  id = "{ID}"\n  bucket = "b"\n  prefix = "p/"\n  region = "r"\n  endpoint = "http://x:1"\n'
            '  use_path_style = true\n  kms_key_id = "k"\n  lease = "1.5m"\n'
            '  assume_role = { role_arn = "arn:r", external_id = "e", session_name = "s" }\n}\n'
            'environment "prod" {\n  branch = "main"\n  roots = ["."]\n  timeout = "45m"\n'
            '  aws {\n    plan_role = "arn:p"\n    apply_role = "arn:a"\n    external_id = "e"\n  }\n}\n'
        )
        first, again = (remembered_config(text.encode(), tmp_path) for _ in range(2))
        assert first == again == parse_config(text)
        assert (type(again.store), type(again.store.assume_role)) == (S3Store, StoreRole)
        assert again.environments[0].aws == AwsRoles(plan_role="arn:p", apply_role="arn:a", external_id="e")
        assert (again.store.lease_seconds, again.environments[0].timeout_seconds) == (90.0, 2700.0)
        assert len(list(tmp_path.iterdir())) == 1

    @pytest.mark.parametrize("store", ["", 'store "local" { path = "/s" }\n', 'store "s3" { bucket = "b" }\n'])
    def test_the_kind_of_a_store_is_remembered(self, tmp_path, store):
        data = (store + ENVIRONMENT).encode()
        kinds = {type(remembered_config(data, tmp_path).store) for _ in range(2)}
        assert kinds == {S3Store if "s3" in store else LocalStore}

    @pytest.mark.parametrize("damage", [b"", b"{", b"null", b"[]", b"{}", b"\xff", b'{"environments": []}'])
    def test_a_damaged_memory_is_read_anew(self, tmp_path, damage):
        data = self.RICH.encode()
        expected = remembered_config(data, tmp_path)
        (file,) = tmp_path.iterdir()
        file.write_bytes(damage)
        assert remembered_config(data, tmp_path) == expected

    def test_a_memory_of_another_text_is_never_taken(self, tmp_path):
        remembered_config(self.RICH.encode(), tmp_path)
        other = self.RICH.replace("count = 2", "count = 0")
        assert remembered_config(other.encode(), tmp_path).environments[0].approval.count == 0

    def test_a_faulty_one_is_never_remembered(self, tmp_path):
        for _ in range(2):
            assert code(lambda: remembered_config(b"x = 1\n", tmp_path), ConfigError).startswith("config.")
        assert list(tmp_path.iterdir()) == []

    def test_a_place_that_cannot_be_written_is_done_without(self, tmp_path):
        (tmp_path / "file").write_text("")
        assert remembered_config(self.RICH.encode(), tmp_path / "file" / "x") == parse_config(self.RICH)

    def test_what_is_no_text_is_refused(self, tmp_path):
        tree = DictTree({"tfops.hcl": b"\xff"})
        assert code(lambda: read_configuration(tree, "r", caller(tmp_path, tmp_path)), ConfigError) == "config.encoding"


def config(store: str = "", more: str = "") -> Config:
    return parse_config(f'store "local" {{\n{store}\n}}\n{ENVIRONMENT}{more}')


class TestPlaces:
    @pytest.mark.parametrize(
        ("store", "path"),
        [
            ("", "/home/me/.local/state/tfops/unnamed"),
            (f'id = "{ID}"', f"/home/me/.local/state/tfops/{ID}"),
            ('path = "~/x"', "/home/me/x"),
            ('path = "/srv/x"', "/srv/x"),
        ],
    )
    def test_a_store_lies_where_it_was_told_else_in_the_users_state(self, tmp_path, store, path):
        assert str(local_place(config(store).store, caller(tmp_path, Path("/home/me"))).root) == path

    @pytest.mark.parametrize("path", ["x", "./x", "../x", "~", "~other/x"])
    def test_a_relative_store_is_refused(self, tmp_path, path):
        store = config(f'path = "{path}"').store
        assert code(lambda: local_place(store, caller(tmp_path, tmp_path)), ConfigError) == "config.invalid_value"

    def test_each_store_has_a_key_of_its_own(self):
        assert default_key_uri(config(f'id = "{ID}"')) == "file:~/.config/tfops/keys/0123456789ab.pem"


class TestKeys:
    @pytest.fixture
    def key(self, home: Path) -> Path:
        path = home / "ours.pem"
        generate(path, passphrase=None)
        return path

    def pem(self, key: Path) -> bytes:
        return public_pem(load_signer(f"file:{key}", home=key.parent, passphrase=None))

    def session(self, repository: Path, home: Path, key: Path, public: bytes, **environ: str) -> Session:
        text = (
            f'store "local" {{\n  id = "{ID}"\n}}\nsigning {{\n  key = "file:{key}"\n}}\n'
            f'trust {{\n  runner "ci" {{\n    public_key = "keys/ci.pub"\n  }}\n}}\n{ENVIRONMENT}'
        )
        commit(repository, {"tfops.hcl": text, "keys/ci.pub": public})
        return open_session(caller(repository, home, **environ))

    def test_our_key_is_one_that_the_revision_trusts(self, repository, home, key):
        create_store(DirectoryObjects(home / ".local/state/tfops" / ID), ID)
        found = self.session(repository, home, key, self.pem(key))
        assert found.runner == "ci"
        assert found.builder.runner == "ci"
        assert found.builder.run_id == found.run_id
        assert set(found.keys) == {"ci"}

    def test_a_key_that_nobody_trusts_signs_nothing(self, repository, home, key):
        create_store(DirectoryObjects(home / ".local/state/tfops" / ID), ID)
        other = home / "other.pem"
        generate(other, passphrase=None)
        found = self.session(repository, home, key, self.pem(other))
        assert code(lambda: found.signer, ConfigError) == "key.not_trusted"

    def test_all_faults_of_public_keys_are_told_at_once(self):
        runners = "".join(f'  runner "{name}" {{\n    public_key = "{name}.pub"\n  }}\n' for name in ("a", "b", "c"))
        one = config(more=f"trust {{\n{runners}}}\n")
        with pytest.raises(ConfigError) as refused:
            read_rules(one, "", DictTree({"a.pub": "garbage", "b.pub": b"\xff"}).read)
        messages = [problem.message for problem in refused.value.problems]
        assert [problem.code for problem in refused.value.problems] == ["config.public_key"] * 3
        assert ["is no public key" in m for m in messages] == [True, True, False]
        assert "is not at this revision" in messages[2]

    def test_the_store_is_opened_by_the_revisions_id(self, repository, home, key):
        found = self.session(repository, home, key, self.pem(key))
        assert code(lambda: found.store, VerificationError) == "store.missing"
        (root,) = found.place.disk_places()
        create_store(DirectoryObjects(Path(root)), ID)
        assert found.store.id == ID
        assert stat.S_IMODE((Path(root) / "digest-key").stat().st_mode) == 0o600

    def test_a_terraform_that_does_not_fit_is_refused(self, repository, home):
        fake = home / "bin" / "terraform"
        fake.parent.mkdir()
        fake.write_text('#!/bin/sh\necho \'{"terraform_version": "1.4.0"}\'\n')
        fake.chmod(0o755)
        create_store(DirectoryObjects(home / ".local/state/tfops" / ID), ID)
        text = f'store "local" {{\n  id = "{ID}"\n}}\nterraform {{\n  version = "~> 1.5"\n}}\n{ENVIRONMENT}'
        commit(repository, {"tfops.hcl": text})
        found = open_session(caller(repository, home, PATH=f"{fake.parent}:{os.environ['PATH']}"))
        assert code(lambda: found.program, FailedError) == "terraform.version"

    def test_a_holder_says_who_we_are(self, repository, home):
        commit(repository, {"tfops.hcl": ENVIRONMENT})
        found = open_session(caller(repository, home))
        assert found.holder["pid"] == os.getpid()
        assert found.holder["run_id"] == found.run_id
        assert now().utcoffset().total_seconds() == 0

    def test_two_runs_have_two_names(self, repository, home):
        commit(repository, {"tfops.hcl": ENVIRONMENT})
        assert len({open_session(caller(repository, home)).run_id for _ in range(5)}) == 5
