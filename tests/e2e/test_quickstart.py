"""The quickstart tells the truth: every command it shows ends as it says, and it leaves nothing outside its place."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
TFOPS = Path(sys.executable).with_name("tfops")
TIMEOUT_SECONDS = 300

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (shutil.which("terraform") or shutil.which("tofu")), reason="needs a Terraform; does not install one"
    ),
]


@dataclass(frozen=True, kw_only=True)
class Tour:
    """One run of the quickstart: what it printed, where it happened, and the caller's home."""

    code: int
    text: str
    home: Path
    temporary: Path

    @property
    def place(self) -> Path:
        """The temporary directory it made."""
        (found,) = self.temporary.iterdir()
        return found


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Tour:
    """The quickstart, run once, by a caller whose environment is full of traps."""
    home, temporary = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("temporary")
    (home / ".gitconfig").write_text("[user]\n  name = Somebody Else\n")
    done = subprocess.run(
        [CHECKOUT / "scripts" / "quickstart"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(temporary),
            "XDG_STATE_HOME": str(home / "state"),
            "TFOPS": str(TFOPS),
            "TF_CLI_ARGS_plan": "-destroy",
            "TF_WORKSPACE": "elsewhere",
            "GIT_DIR": "/nonexistent",
        },
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return Tour(code=done.returncode, text=done.stdout.decode(), home=home, temporary=temporary)


def test_the_quickstart_gets_to_its_end(tour: Tour):
    assert tour.code == 0, tour.text
    assert tour.text.splitlines()[-1] == f"  rm -rf {tour.place}"


@pytest.mark.parametrize(
    "line",
    [
        "3 applied; Terraform was started 12 times",
        "3 converged; no Terraform was started",
        "1 converged, 2 pending",
        "1 converged, 2 applied",
        "modules/database/tables/refunds.sql is new",
        "verified: signature and every file",
        "NOT VERIFIED",
        "[verify.plan_tfplan]",
        "prod: converged at ",
    ],
)
def test_the_quickstart_shows(tour: Tour, line: str):
    assert line in tour.text


def test_the_environments_are_applied_in_order(tour: Tour):
    applied = re.findall(r"^ *[\d.]+s (\w+): applied$", tour.text, re.MULTILINE)
    assert applied == ["dev", "staging", "prod", "staging", "prod"]


def test_each_refusal_of_the_forged_plan_ends_with_5(tour: Tour):
    refused = re.findall(r"^\$ tfops (\w+) (?:(?!^\$ ).)*?^\(exit code 5\)$", tour.text, re.MULTILINE | re.DOTALL)
    assert refused == ["verify", "sync"]


def test_no_colours_where_there_is_no_terminal(tour: Tour):
    assert "\x1b" not in tour.text


def test_no_secret_is_shown(tour: Tour):
    states = tour.place.glob("home/.local/state/tfops/*/state/*/terraform.tfstate")
    passwords = {found for state in states for found in re.findall(r"postgres://shop:(\w+)@", state.read_text())}
    assert len(passwords) == 2
    shown = tour.text + (tour.place / "progress.log").read_text()
    assert not [password for password in passwords if password in shown]


def test_the_callers_home_stays_untouched(tour: Tour):
    assert [path.name for path in tour.home.rglob("*")] == [".gitconfig"]


def test_what_to_try_next_works(tour: Tour):
    """Runs the commands that the end proposes, in the shell that it proposes."""
    shell = re.search(r"^  (bash --rcfile .*)$", tour.text, re.MULTILINE)
    proposed = re.findall(r"^  ((?:tfops|rm ~)[^\n]*?)(?: {3,}.*)?$", tour.text, re.MULTILINE)
    assert shell
    assert len(proposed) == 4
    script = "\n".join([f". {shell[1].split()[-1]}", *(f'{line}; echo "exit $?"' for line in proposed)])
    done = subprocess.run(
        ["bash", "-c", script],
        env={"PATH": os.environ["PATH"], "HOME": str(tour.home), "TF_WORKSPACE": "elsewhere"},
        cwd=tour.home,
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert re.findall(r"^exit (\d+)$", done.stdout.decode(), re.MULTILINE) == ["0", "0", "0", "5"], done
    assert b"[state.missing]" in done.stderr
    assert b'"password": (sensitive)' in done.stdout


@pytest.mark.skipif(not shutil.which("openssl"), reason="needs openssl")
@pytest.mark.parametrize(("artifact", "good"), [("review", 3), ("tampered", 2)])
def test_the_recipe_for_openssl_works(tour: Tour, tmp_path: Path, artifact: str, good: int):
    """Runs the script of docs/artifact.md, as it stands there, on the tour's artifacts."""
    page = (CHECKOUT / "docs" / "artifact.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    shutil.copytree(tour.place / artifact / "prod", tmp_path / "copy")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", recipe],
        env={"PATH": os.environ["PATH"], "KEY": str(tour.place / "shop" / "keys" / "local.pub")},
        cwd=tmp_path / "copy",
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    said = done.stdout.decode()
    assert done.returncode == 0, done
    assert "Signature Verified Successfully" in said
    assert (said.count(": as signed"), said.count(": NOT as signed")) == (good, 3 - good)
    plan_id = re.search(r"^next: tfops inspect (\w{12}),", tour.text, re.MULTILINE)
    assert plan_id
    assert said.splitlines()[-1].startswith(plan_id[1])


def test_a_step_that_ends_otherwise_stops_the_quickstart(tmp_path: Path):
    """Runs it with a tfops that does nothing: the first thing that should have happened and did not ends it."""
    idle = tmp_path / "tfops"
    idle.write_text("#!/bin/sh\nexit 0\n")
    idle.chmod(0o755)
    done = subprocess.run(
        [CHECKOUT / "scripts" / "quickstart"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "TMPDIR": str(tmp_path),
            "TFOPS": str(idle),
        },
        capture_output=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert b"did not get to its end" in done.stderr


def longer_tour(place: Path, option: str) -> str:
    """What the quickstart prints with an option; it gets to its end."""
    done = subprocess.run(
        [CHECKOUT / "scripts" / "quickstart", option],
        env={"PATH": os.environ["PATH"], "HOME": str(place), "TMPDIR": str(place), "TFOPS": str(TFOPS)},
        cwd=place,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    text = done.stdout.decode()
    assert done.returncode == 0, text
    return text


def test_with_s3_it_shows_the_same_on_a_real_server(tmp_path: Path):
    text = longer_tour(tmp_path, "--s3")
    for line in (
        'store "s3" {',
        "3 applied",
        "3 converged; no Terraform was started",
        "NOT VERIFIED",
        "nothing is locked",
    ):
        assert line in text


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen")
def test_with_approvals_it_shows_two_people_and_what_one_is_worth(tmp_path: Path):
    text = longer_tour(tmp_path, "--approvals")
    for line in ("asks for 2 approvals; there are 1", "1 more needed, from bob", "(exit code 3)", "1 applied"):
        assert line in text


def test_with_drift_it_shows_what_somebody_did_by_hand(tmp_path: Path):
    text = longer_tour(tmp_path, "--drift")
    for line in ("size: revert; was 2, is 16, would become 2", "remediation: applied", "1 in_sync"):
        assert line in text
