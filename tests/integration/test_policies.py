"""What a policy that is a program is told, and what of its end becomes a reason: real programs."""

import json
import os
import re
import shutil
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.fakes import DictTree, Symlink
from tfops.approval import Override
from tfops.config import parse_config
from tfops.config_gate import Gate
from tfops.config_policy import Policy
from tfops.errors import ConfigError, InterruptedRunError
from tfops.steps.policies import findings
from tfops.steps.policy_files import LIMIT, policy_files

PLAN = {"format_version": "1.2", "resource_changes": [{"address": "a.b"}]}
SURVEYED: Any = SimpleNamespace(id="prod/app", stack=SimpleNamespace(environment="prod"))


@dataclass
class World:
    """As much of a session as a policy is asked with."""

    cache: Path
    files: dict[str, str] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)

    def reasons(self, *policies: Policy) -> list[str]:
        environ = {"PATH": os.environ["PATH"], "HOME": "/home/ours", "AWS_SECRET_ACCESS_KEY": "hush", "TFOPS_X": "hush"}
        session: Any = SimpleNamespace(
            rules=SimpleNamespace(files=self.files),
            caller=SimpleNamespace(cache=self.cache, environ=environ, stop=self.stop),
            say=lambda stack, message: None,
        )
        found = findings(session, SURVEYED, Gate(policies=policies), PLAN)
        return [one.words for one in found.get(Override.POLICY, ())]

    def said(self, script: str, **options: Any) -> str:
        """The reason that a shell script gives."""
        (words,) = self.reasons(Policy(name="p", command=("sh", "-c", script), **options))
        return words


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(cache=tmp_path / "cache" / "tfops")


def test_without_policies_nothing_is_done(world):
    assert world.reasons() == []
    assert not world.cache.exists()


def test_one_that_ends_well_refuses_nothing_and_nothing_of_it_stays(world):
    assert world.reasons(Policy(name="p", command=("sh", "-c", "touch left $TMPDIR/left; cat > /dev/null"))) == []
    assert list(world.cache.iterdir()) == []


def test_it_is_told_the_plan_and_whose_it_is_and_no_secret_of_ours(world):
    script = "cmp - $TFOPS_PLAN_JSON && cat $TFOPS_PLAN_JSON > ../../seen; env | cut -d= -f1 | sort | xargs; exit 1"
    words = world.said(script)
    seen = words.partition(": ")[2].split()
    wanted = {"HOME", "NO_COLOR", "PATH", "TFOPS_ENVIRONMENT", "TFOPS_PLAN_JSON", "TFOPS_STACK", "TMPDIR"}
    assert set(seen) - {"PWD", "OLDPWD", "SHLVL", "_"} == wanted
    assert json.loads((world.cache / "seen").read_bytes()) == PLAN
    assert world.said('echo "$TFOPS_STACK $TFOPS_ENVIRONMENT"; exit 1').endswith(": prod/app prod")


def test_its_files_lie_where_they_do_in_the_repository_and_nobody_elses(world):
    world.files = {"policies/a.sh": '#!/bin/sh\necho "from $0"; exit 1\n', "keys/ci.pub": "key", "policies.txt": "x"}
    words = world.reasons(Policy(name="p", command=("policies/a.sh",), files=("policies",)))
    assert words == ['policy "p" refuses (exit code 1): from policies/a.sh']
    assert world.said("find . -type f; exit 1", files=("policies",)).endswith(": ./policies/a.sh")


def test_the_directory_is_private(world):
    script = "stat -c %a .. | xargs; exit 1" if os.uname().sysname == "Linux" else "stat -f %Lp ..; exit 1"
    assert world.said(script).endswith(": 700")
    assert stat.S_IMODE(world.cache.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exit 2", "refuses (exit code 2), and says nothing"),
        ("echo one; echo; echo '  two' >&2; exit 1", "refuses (exit code 1):\none\n  two"),
        ("seq 100; exit 1", "refuses (exit code 1):\n1\n2\n3\n4\n"),
        ("yes x | head -50; exit 1", "refuses (exit code 1):\n" + 40 * "x\n" + "and 10 more lines"),
        ("printf '\\033[31mred\\033[0m \\007bell\\n'; exit 1", "refuses (exit code 1): red \\x07bell"),
        ("printf '\\377\\n'; exit 1", "refuses (exit code 1): \ufffd"),
        ("kill -9 $$", "was killed by signal 9, and says nothing"),
        ("no-such-program", "refuses (exit code 127): sh: "),
    ],
)
def test_every_other_end_is_a_reason(world, script, words):
    assert world.said(script).startswith(f'policy "p" {words}')


def test_a_long_line_and_a_flood_are_cut(world):
    assert len(world.said("head -c 3000000 /dev/zero | tr '\\0' a; exit 1")) < 400


def test_one_that_is_too_slow_refuses(world):
    words = world.said("echo began; sleep 60", timeout_seconds=0.5)
    assert words == 'policy "p" did not answer within 0.5 s (its timeout), and was stopped: began'


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("no-such", "there is no no-such: install it on the runner, or name it in the policy's files"),
        ("policies/a.sh", "there is no policies/a.sh: install it on the runner, or name it in the policy's files"),
        ("/etc/passwd", "/etc/passwd: Permission denied"),
    ],
)
def test_one_that_cannot_be_started_refuses_and_says_why(world, program, words):
    world.files = {"policies/a.sh": "exit 0"}
    assert world.reasons(Policy(name="p", command=(program,))) == [f'policy "p" could not be asked: {words}']


def test_each_policy_speaks_for_itself_and_every_message_of_rego_is_a_reason(world):
    rule = (
        'package tfops\ndeny contains message if { some n in numbers.range(1, 30); message := sprintf("no %d", [n]) }'
    )
    world.files = {"a.rego": rule, "broken.rego": "package tfops\ndeny contains {"}
    found = world.reasons(
        Policy(name="one", command=("sh", "-c", "exit 1")),
        Policy(name="two", rego=("a.rego",)),
        Policy(name="three", rego=("broken.rego",)),
    )
    assert found[0].startswith('policy "one" refuses')
    assert found[1] == 'policy "two": no 1'
    assert found[21] == 'policy "two": and 10 more'
    assert found[22].startswith('policy "three" could not be asked: broken.rego is not valid Rego')


def test_a_run_that_is_asked_to_stop_waits_for_no_policy(world):
    threading.Timer(0.3, world.stop.set).start()
    with pytest.raises(InterruptedRunError):
        world.said("sleep 60")


class TestFiles:
    """The texts that become part of the rules."""

    def faults(self, policy: Policy, files: dict[str, Any]) -> list[str]:
        with pytest.raises(ConfigError) as refused:
            policy_files([policy], DictTree(files))
        assert {one.code for one in refused.value.problems} == {"config.policy"}
        return [one.message for one in refused.value.problems]

    def test_a_directory_means_all_that_is_in_it(self):
        tree = DictTree({"p/a.sh": "a", "p/deep/b.rego": "b", "q.txt": "q", "pq": "x"})
        program = Policy(name="x", command=("sh",), files=("p", "q.txt"))
        assert policy_files([program], tree) == {"p/a.sh": "a", "p/deep/b.rego": "b", "q.txt": "q"}
        assert policy_files([Policy(name="x", rego=("p",))], tree) == {"p/deep/b.rego": "b"}

    def test_all_that_is_wrong_is_told_at_once(self):
        policy = Policy(name="x", command=("sh",), files=("gone", "p"))
        tree = {"p/a": b"\xff", "p/b": b"a\0b", "p/c": Symlink("/etc/passwd"), "p/d": "fine"}
        assert self.faults(policy, tree) == [
            'policy "x": gone is not at this revision',
            'policy "x": p/a is no text in UTF-8',
            'policy "x": p/b is no text',
            'policy "x": p/c is a link: what it leads to is not part of the rules',
        ]

    def test_a_rego_policy_without_any_rego_file_is_refused(self):
        assert self.faults(Policy(name="x", rego=("p",)), {"p/README.md": "x"}) == [
            'policy "x": p is not at this revision'
        ]

    def test_all_policies_together_have_a_limit(self):
        half = "x" * (LIMIT // 2)
        policies = [Policy(name=name, command=("sh",), files=(name,)) for name in ("a", "b", "c")]
        assert len(policy_files(policies[:2], DictTree({"a": half, "b": half}))) == 2
        with pytest.raises(ConfigError, match="the rules in force hold at most 1048576"):
            policy_files(policies, DictTree({"a": half, "b": half, "c": "x"}))


GUIDE = (Path(__file__).parents[2] / "docs" / "policies.md").read_text(encoding="utf-8")
EXAMPLES = {
    policy.name: policy
    for example in re.findall(r"^```hcl\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    for policy in parse_config(example).policies
}


@pytest.mark.parametrize("name", ["conftest", "opa", "checkov"])
def test_the_programs_of_the_guide_judge_as_the_guide_says(name, world):
    """Where they are installed: each lets a plan of nothing pass."""
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    world.files = {
        "policies/deny.rego": 'package main\ndeny contains "x" if input.resource_changes[_].address == "z"\n'
    }
    assert world.reasons(EXAMPLES[name]) == []
