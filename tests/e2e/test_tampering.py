"""Any byte of any file of an artifact: verify ends with 5, and sync refuses to apply it."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeSandbox
from tests.e2e.sandbox import RESOURCE, Sandbox, environment, kept_file
from tfops.adapters import keys
from tfops.dsse import public_key
from tfops.errors import Exit
from tfops.workflows.verify import verify

FILES = ("plan.json", "plan.tfplan", "plan.txt", "statement.json")


@pytest.fixture(scope="module")
def world(make_sandbox: MakeSandbox) -> Sandbox:
    """dev and prod with one plan each, stored and written to `out`."""
    sandbox = make_sandbox()
    sandbox.stacks(environment("dev") + environment("prod"), {"dev/main.tf": RESOURCE, "prod/main.tf": RESOURCE})
    result = sandbox.json("plan", "--out", sandbox.directory / "out")
    assert result.code == 2
    return sandbox


@pytest.fixture
def artifact(world: Sandbox, tmp_path: Path) -> Path:
    """A copy of dev's artifact, as good as the original."""
    return Path(shutil.copytree(world.directory / "out" / "dev", tmp_path / "copy"))


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _edits(data: bytes) -> Iterator[tuple[str, bytes]]:
    positions = sorted({0, 1, len(data) // 3, len(data) // 2, len(data) - 2, len(data) - 1})
    for at in positions:
        yield f"bit flipped at {at}", _flip(data, at)
        yield f"byte inserted at {at}", data[:at] + b"A" + data[at:]
        yield f"byte deleted at {at}", data[:at] + data[at + 1 :]
        yield f"cut off at {at}", data[:at]
    yield "space appended", data + b" "
    yield "newline appended", data + b"\n"
    yield "doubled", data + data


def test_an_untouched_artifact_verifies_in_its_repository_and_offline(world: Sandbox, artifact: Path) -> None:
    assert world.json("verify", artifact).json["verified"] is True
    key = world.clone / "keys" / "ci.pub"
    away = world.json("verify", artifact, "--key", key, cwd=world.home)
    assert (away.code, away.json["verified"]) == (0, True)


def test_every_single_byte_of_the_statement_counts(world: Sandbox, artifact: Path) -> None:
    trusted = {"ci": public_key(world.public_key)}

    def verified() -> bool:
        return verify(str(artifact), session=None, keys=trusted, redacted_only=False).exit_code is Exit.OK

    assert verified()
    statement = artifact / "statement.json"
    whole = statement.read_bytes()
    believed = []
    for at in range(len(whole)):
        for edited in (_flip(whole, at), whole[:at] + whole[at + 1 :], whole[:at]):
            statement.write_bytes(edited)
            if verified():
                believed.append((at, edited))
    assert believed == []


@pytest.mark.parametrize("name", FILES)
def test_an_edit_anywhere_in_a_file_is_noticed(world: Sandbox, artifact: Path, name: str) -> None:
    trusted = {"ci": public_key(world.public_key)}
    with kept_file(artifact / name) as whole:
        for what, edited in _edits(whole):
            (artifact / name).write_bytes(edited)
            found = verify(str(artifact), session=None, keys=trusted, redacted_only=False)
            if not (name == "statement.json" and _same_envelope(whole, edited)):
                assert found.exit_code is Exit.UNVERIFIED, what


def _same_envelope(one: bytes, other: bytes) -> bool:
    """Space around the envelope's JSON is not part of what is signed."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


@pytest.mark.parametrize("name", FILES)
def test_the_command_refuses_an_edited_file_and_sync_does_too(world: Sandbox, artifact: Path, name: str) -> None:
    whole = (artifact / name).read_bytes()
    (artifact / name).write_bytes(_flip(whole, len(whole) // 2))
    assert world.json("verify", artifact).code == 5
    result = world.sync("dev", "--plan", artifact, expect=5)
    assert result.errors[0].startswith("verify."), result
    assert not world.state_file().exists()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_noticed(world: Sandbox, artifact: Path, name: str) -> None:
    (artifact / name).unlink()
    assert world.json("verify", artifact).code == 5
    assert world.sync("dev", "--plan", artifact, expect=5).errors[0].startswith("verify.")


@pytest.mark.parametrize("name", FILES)
def test_an_edited_file_in_the_store_is_noticed(world: Sandbox, name: str) -> None:
    (directory,) = world.plans("dev")
    with kept_file(directory / name) as whole:
        (directory / name).write_bytes(_flip(whole, len(whole) // 2))
        assert world.json("verify", directory.name).code == 5
        world.sync("dev", "--plan", directory.name, expect=5)
    assert world.json("verify", directory.name).code == 0
    assert not world.state_file().exists()


def _resigned(artifact: Path, key: Path, home: Path) -> None:
    from tfops import dsse

    payload = dsse.unverified_payload((artifact / "statement.json").read_bytes(), what="statement.json")
    signer = keys.load_signer(f"file:{key}", home=home, passphrase=None)
    (artifact / "statement.json").write_bytes(dsse.sign(payload, signer))


def test_a_signature_by_an_unknown_key_is_refused(world: Sandbox, artifact: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    keys.generate(stranger, passphrase=None)
    _resigned(artifact, stranger, tmp_path)
    result = world.json("verify", artifact)
    assert (result.code, result.errors) == (5, ["verify.signature"])
    assert world.sync("dev", "--plan", artifact, expect=5).errors == ["verify.unknown_key"]


def _edited_payload(artifact: Path, edit: Callable[[dict[str, object]], None]) -> None:
    envelope = json.loads((artifact / "statement.json").read_bytes())
    payload = json.loads(base64.b64decode(envelope["payload"]))
    edit(payload)
    envelope["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    (artifact / "statement.json").write_text(json.dumps(envelope))


def test_a_statement_that_says_something_else_under_the_old_signature_is_refused(
    world: Sandbox, artifact: Path
) -> None:
    def edit(payload: dict[str, object]) -> None:
        predicate = payload["predicate"]
        assert isinstance(predicate, dict)
        predicate["stack"] = "prod"

    _edited_payload(artifact, edit)
    assert world.json("verify", artifact).errors == ["verify.signature"]


def test_files_exchanged_between_two_artifacts_are_noticed(world: Sandbox, artifact: Path) -> None:
    shutil.copy(world.directory / "out/prod/plan.tfplan", artifact / "plan.tfplan")
    assert world.json("verify", artifact).errors == ["verify.plan_tfplan"]


def test_a_copy_without_the_plan_file_verifies_only_as_a_redacted_one(world: Sandbox, artifact: Path) -> None:
    (artifact / "plan.tfplan").unlink()
    assert world.json("verify", artifact).code == 5
    assert world.json("verify", artifact, "--redacted-only").code == 0
    (artifact / "plan.json").unlink()
    assert world.json("verify", artifact, "--redacted-only").code == 5


def test_inspect_says_that_an_edited_artifact_cannot_be_believed(world: Sandbox, artifact: Path) -> None:
    (artifact / "plan.txt").write_text("No changes.")
    result = world.tfops("inspect", artifact)
    assert "NOT VERIFIED" in result.out
    assert "No changes." not in result.out
    assert world.json("inspect", artifact).json["stacks"][0]["verified"] is False


def test_the_record_of_an_apply_is_verified_too(make_sandbox: MakeSandbox) -> None:
    sandbox = make_sandbox()
    sandbox.one_stack()
    sandbox.sync(expect=0)
    (plan,) = sandbox.plans()
    assert sandbox.json("verify", plan.name).code == 0
    for name in ("result.json", "claim.json", "events.ndjson"):
        with kept_file(plan / name) as whole:
            (plan / name).write_bytes(_flip(whole, len(whole) // 2))
            assert sandbox.json("verify", plan.name).code == 5, name
    with kept_file(plan / "result.json") as whole:
        (plan / "result.json").write_bytes(_flip(whole, len(whole) // 2))
        history = sandbox.json("history", "dev")
        assert history.code == 5
        assert history["dev"]["deployments"] == []
