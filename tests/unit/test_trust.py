"""Which rules judge, and what a change of them asks for."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfops.config import Config, Environment, parse_config
from tfops.config_gate import Approval, Gate, Protect
from tfops.config_trust import Approver
from tfops.trust import Rules, gate_in, gate_of, proposal_id, rules_change, still_trusted, strictest

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGd5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5eXl5 alice"
counts = st.one_of(st.none(), st.integers(0, 5).map(lambda count: Approval(count=count)))


def config(environments: dict[str, int | None], trust: str = "") -> Config:
    blocks = "".join(
        f'environment "{name}" {{\n  branch = "main"\n  roots = ["{name}"]\n'
        + ("" if count is None else f"  approval {{\n    count = {count}\n  }}\n")
        + "}\n"
        for name, count in environments.items()
    )
    return parse_config(f"{blocks}\ntrust {{\n{trust}\n}}\n", "tfops.hcl")


def rules(environments: dict[str, int | None], trust: str = "", **files: str) -> Rules:
    named = {f"{name}.pub": text for name, text in files.items()}
    return Rules(text="", config=config(environments, trust), files=named)


def approver(name: str, *, github: str = "", revoked: bool = False, key: bool = True) -> str:
    lines = [f'  ssh_key = "{KEY}"'] if key else []
    lines += [f'  github = "{github}"'] if github else []
    lines += ["  revoked = true"] if revoked else []
    return f'approver "{name}" {{\n' + "\n".join(lines) + "\n}"


def runner(name: str) -> str:
    return f'runner "{name}" {{\n  public_key = "{name}.pub"\n}}'


@given(st.lists(counts))
def test_the_strictest_gate_is_at_least_as_strict_as_each(gates):
    found = strictest(gates)
    for gate in gates:
        assert found is None or (gate is not None and gate.count <= found.count)


def test_without_any_gate_nothing_is_asked():
    assert strictest([]) == Approval(count=0)


@pytest.mark.parametrize(
    ("environment", "asked", "former", "wanted"),
    [
        ("prod", 0, (), 2),
        ("prod", 3, (), 3),
        ("prod", None, (), None),
        ("staging", 0, (), 0),
        ("staging", 0, ("prod",), 2),
        ("staging", 0, ("gone",), 2),
        ("new", 0, (), 2),
        ("staging@feature-x", 0, (), 0),
    ],
)
def test_of_what_bears_on_a_state_the_strictest_counts(environment, asked, former, wanted):
    in_force = config({"prod": 2, "staging": 0})
    own = Gate(approval=None if asked is None else Approval(count=asked))
    gate = gate_of(environment, own, former, in_force)
    assert (gate.approval.count if gate.approval else None) == wanted


@pytest.mark.parametrize(
    ("environment", "asked", "former", "guarded"),
    [
        ("prod", 2, (), True),
        ("prod", None, (), True),
        ("prod", 0, (), True),
        ("staging", 0, (), False),
        ("staging", 1, (), True),
        ("staging", 0, ("prod",), True),
        ("manual", None, (), False),
        ("new", None, (), True),
    ],
)
def test_attack_a_push_takes_the_gate_away_so_that_nobody_looks(environment, asked, former, guarded):
    in_force = config({"prod": 2, "staging": 0, "manual": None})
    own = gate_in(replace(in_force.environments[0], approval=None if asked is None else Approval(count=asked)))
    assert gate_of(environment, own, former, in_force).is_guarded is guarded


PROD = 'environment "prod" {\n  branch = "main"\n  roots = ["prod"]\n  approval { count = COUNT }\n'
CALM = 'freeze "weekend" { days = ["sat", "sun"] }'


def gated(gates: str, count: int = 2) -> Rules:
    text = PROD.replace("COUNT", str(count)) + gates + "\n}\n"
    return Rules(text=text, config=parse_config(text), files={})


def test_what_any_of_them_protects_or_freezes_is_protected_and_frozen():
    in_force = gated(f"protect {{ max_destroy = 0 }}\n{CALM}").config
    own = Gate(approval=Approval(count=0), protects=(Protect(replace=True),))
    for environment, former in (("prod", ()), ("new", ()), ("new", ("prod",))):
        gate = gate_of(environment, own, former, in_force)
        assert gate.protects == (Protect(replace=True), Protect(max_destroy=0))
        assert [freeze.name for freeze in gate.freezes] == ["weekend"]


@pytest.mark.parametrize(
    ("old", "new", "count", "wanted", "word"),
    [
        ("protect { max_destroy = 0 }", "", 2, 2, 'environment "prod" protects less'),
        ("protect { max_destroy = 0 }", "protect { max_destroy = 1 }", 0, 1, 'environment "prod" protects less'),
        ("protect { max_destroy = 1 }", "protect { max_destroy = 0 }", 2, 0, 'environment "prod" protects more'),
        ("", "protect { replace = true }", 2, 0, 'environment "prod" protects more'),
        (CALM, "", 2, 2, 'environment "prod" freezes at other times'),
        (CALM, CALM.replace("sat", "fri"), 0, 1, 'environment "prod" freezes at other times'),
        ("", CALM, 2, 0, 'environment "prod" freezes more often'),
    ],
)
def test_to_protect_less_needs_somebody_and_to_protect_more_needs_nobody(old, new, count, wanted, word):
    found = rules_change(gated(old, count), gated(new, count))
    assert (found.words, found.wanted) == ((word,), wanted)


OLD = {"prod": 2, "staging": 0}


@pytest.mark.parametrize(
    ("new", "wanted", "word"),
    [
        ({"prod": 0, "staging": 0}, 2, 'environment "prod" asks for no approvals instead of 2 approvals'),
        ({"prod": 3, "staging": 0}, 2, 'environment "prod" asks for 3 approvals instead of 2 approvals'),
        ({"prod": 2, "staging": 1}, 0, 'environment "staging" asks for 1 approval instead of no approvals'),
        ({"prod": 2, "staging": 0, "other": 0}, 2, 'environment "other" is new and asks for no approvals'),
        ({"staging": 0}, 2, 'environment "prod" is gone'),
        ({"prod": 2}, 0, 'environment "staging" is gone'),
    ],
)
def test_a_changed_environment_asks_for_what_it_asked_before_and_a_new_one_for_the_strictest(new, wanted, word):
    found = rules_change(rules(OLD), rules(new))
    assert (found.words, found.wanted) == ((word,), wanted)


def test_an_environment_that_nothing_passes_by_itself_changes_when_one_person_agrees():
    assert rules_change(rules({"prod": None}), rules({"prod": 0})).wanted == 1
    assert rules_change(rules({"prod": None, "x": 2}), rules({"prod": 0, "x": 0})).wanted == 2


@pytest.mark.parametrize(
    ("old", "new", "wanted", "word"),
    [
        ("", approver("alice"), 2, 'approver "alice" is new'),
        (approver("alice"), "", 0, 'approver "alice" is gone'),
        (approver("alice"), approver("alice", revoked=True), 0, 'approver "alice" changed'),
        (approver("alice", revoked=True), approver("alice"), 2, 'approver "alice" changed'),
        (approver("alice"), approver("alice", github="alice"), 2, 'approver "alice" changed'),
        (approver("alice", github="alice"), approver("alice"), 0, 'approver "alice" changed'),
        ("", runner("ci"), 2, 'runner "ci" is new'),
        (runner("ci"), "", 0, 'runner "ci" is gone'),
    ],
)
def test_to_take_from_trust_needs_nobody_and_to_add_to_it_the_strictest(old, new, wanted, word):
    found = rules_change(rules(OLD, old, ci="key"), rules(OLD, new, ci="key"))
    assert (found.words, found.wanted) == ((word,), wanted)


def test_another_key_under_the_same_path_is_a_changed_runner():
    found = rules_change(rules(OLD, runner("ci"), ci="key"), rules(OLD, runner("ci"), ci="other"))
    assert (found.words, found.wanted) == (('runner "ci" changed',), 2)


def test_what_judges_nothing_changes_no_rules():
    def longer(one: Environment) -> Environment:
        return replace(one, timeout_seconds=1, var_files=("x.tfvars",))

    old = rules(OLD)
    new = replace(old, config=replace(old.config, environments=tuple(map(longer, old.config.environments))))
    assert rules_change(old, new).is_empty


def names(found: tuple[Approver, ...]) -> dict[str, tuple[int, int, bool]]:
    return {one.name: (len(one.keys), len(one.logins), one.is_revoked) for one in found}


def test_a_key_that_the_head_no_longer_names_does_not_count_and_a_new_one_not_yet():
    full, less = config(OLD, approver("alice", github="a")), config(OLD, approver("alice", github="a", key=False))
    assert names(still_trusted(full, full)) == {"alice": (1, 1, False)}
    assert names(still_trusted(full, less)) == {"alice": (0, 1, False)}
    assert names(still_trusted(less, full)) == {"alice": (0, 1, False)}
    assert names(still_trusted(full, config(OLD))) == {"alice": (0, 1, True)}
    assert names(still_trusted(full, config(OLD, approver("alice", revoked=True))))["alice"][2]
    assert names(still_trusted(config(OLD), full)) == {}


def with_emails(*emails: str) -> Rules:
    listed = ", ".join(f'"{one}"' for one in emails)
    return rules(OLD, f'approver "alice" {{\n  ssh_key = "{KEY}"\n  emails = [{listed}]\n}}')


def test_attack_an_address_that_somebody_gives_themselves_makes_no_code_owner_of_them():
    few, more = with_emails("a@example.org"), with_emails("a@example.org", "owner@example.org")
    assert rules_change(few, more).wanted == strictest(one.approval for one in few.config.environments).count
    assert rules_change(more, few).wanted == rules_change(few, more).wanted > 0


def until(end: str | None) -> Config:
    valid = f'  valid_until = "{end}"\n' if end else ""
    return config(OLD, f'approver "alice" {{\n  ssh_key = "{KEY}"\n{valid}}}')


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        (None, "2027-01-01T00:00:00Z", 2027),
        ("2028-01-01T00:00:00Z", "2027-01-01T00:00:00Z", 2027),
        ("2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z", 2027),
        ("2027-01-01T00:00:00Z", None, 2027),
    ],
)
def test_a_persons_time_ends_at_the_earlier_moment_until_the_later_one_is_in_force(before, after, left):
    (alice,) = still_trusted(until(before), until(after))
    assert alice.valid_until and alice.valid_until.year == left


def test_every_runner_comes_to_the_same_id_and_another_text_to_another():
    one = rules(OLD, runner("ci"), ci="key")
    assert proposal_id("a", one) == proposal_id("a", replace(one))
    others = [proposal_id("b", one), proposal_id("a", replace(one, text="x")), proposal_id("a", replace(one, files={}))]
    assert len({proposal_id("a", one), *others}) == 4


POLICY = 'policy "names" {\n  command = ["sh", "policies/names.sh"]\n  files = ["policies"]\nENVIRONMENTS}\n'
SCRIPT = {"policies/names.sh": "exit 1"}


def judged(policy: str, files: dict[str, str], counts: tuple[int | None, int] = (2, 0)) -> Rules:
    blocks = [
        f'environment "{name}" {{\n branch = "main"\n roots = ["{name}"]\n'
        + ("}\n" if count is None else f" approval {{ count = {count} }}\n}}\n")
        for name, count in zip(("prod", "staging"), counts, strict=True)
    ]
    text = "".join(blocks) + policy
    return Rules(text=text, config=parse_config(text), files=files)


def everywhere(extra: str = "") -> str:
    return POLICY.replace("ENVIRONMENTS", extra)


STAGING = everywhere('  environments = ["staging"]\n')


@pytest.mark.parametrize(
    ("old", "new", "wanted", "word"),
    [
        ((everywhere(), SCRIPT), ("", {}), 2, 'policy "names" is gone'),
        ((everywhere(), SCRIPT), (everywhere(), {"policies/names.sh": "exit 0"}), 2, 'policy "names" changed'),
        ((everywhere(), SCRIPT), (everywhere(), {**SCRIPT, "policies/more.rego": "x"}), 2, 'policy "names" changed'),
        ((everywhere(), SCRIPT), (everywhere('  timeout = "1m"\n'), SCRIPT), 2, 'policy "names" changed'),
        ((everywhere(), SCRIPT), (STAGING, SCRIPT), 2, 'policy "names" changed'),
        ((STAGING, SCRIPT), ("", {}), 1, 'policy "names" is gone'),
        (("", {}), (everywhere(), SCRIPT), 0, 'policy "names" is new'),
    ],
)
def test_to_change_a_policy_needs_the_strictest_that_it_judged_and_to_add_one_nobody(old, new, wanted, word):
    found = rules_change(judged(*old), judged(*new))
    assert (found.words, found.wanted) == ((word,), wanted)


def test_a_policy_of_an_environment_that_nothing_passes_by_itself_changes_when_one_person_agrees():
    assert rules_change(judged(everywhere(), SCRIPT, (None, 0)), judged("", {}, (None, 0))).wanted == 1


def test_a_file_that_is_no_policys_changes_no_rules():
    old, new = judged(everywhere(), SCRIPT), judged(everywhere(), {**SCRIPT, "policies.rego": "x"})
    assert rules_change(old, new).is_empty


@pytest.mark.parametrize(
    ("environment", "former", "names"),
    [
        ("staging", (), ["names"]),
        ("staging@feature-x", (), ["names"]),
        ("prod", (), []),
        ("prod", ("staging",), ["names"]),
        ("prod", ("gone",), ["names"]),
        ("new", (), ["names"]),
    ],
)
def test_a_policy_judges_its_environments_and_whoever_takes_over_their_states(environment, former, names):
    gate = gate_of(environment, Gate(approval=Approval(count=0)), former, judged(STAGING, SCRIPT).config)
    assert [policy.name for policy in gate.policies] == names
    assert gate.is_open is False or not names


def _reviewing(text: str) -> Rules:
    return Rules(text="", config=parse_config(f"{PROD.replace('COUNT', '2')}\n}}\n{text}", "tfops.hcl"), files={})


def test_who_lets_code_for_review_do_more_needs_the_strictest_gate():
    change = rules_change(_reviewing(""), _reviewing('review {\n  allow = ["external"]\n}\n'))
    assert (change.words, change.wanted) == (("code for review may do more while it is planned",), 2)


def test_to_let_code_for_review_do_less_needs_nobody():
    change = rules_change(_reviewing('review {\n  allow = ["external"]\n}\n'), _reviewing(""))
    assert (change.words, change.wanted) == (("code for review may do less while it is planned",), 0)


@pytest.mark.parametrize(
    ("extra", "word"),
    [
        ('terraform {\n  binary = "/opt/x"\n}\n', "the Terraform that runs is /opt/x instead of what PATH has"),
        ('notify "n" {\n  url = "https://x.org"\n  secret_env = "S"\n}\n', "who is told of drift changed"),
    ],
)
def test_attack_a_commit_names_a_program_or_a_place_that_drift_is_told_to(extra, word):
    for old, new in (("", extra), (extra, "")):
        change = rules_change(_reviewing(old), _reviewing(new))
        assert (len(change.words), change.wanted) == (1, 2)
    assert rules_change(_reviewing(""), _reviewing(extra)).words == (word,)


def test_a_constraint_on_the_version_asks_nobody():
    assert rules_change(_reviewing(""), _reviewing('terraform {\n  version = "~> 1.11"\n}\n')).is_empty


def test_to_let_sync_destroy_by_itself_asks_for_what_the_environment_asks_and_to_forbid_it_for_nobody():
    quiet = parse_config(PROD.replace("COUNT", "2") + "}\n")
    prunes = parse_config(PROD.replace("COUNT", "2") + "  prune = true\n}\n")
    there = rules_change(Rules(text="", config=quiet, files={}), Rules(text="", config=prunes, files={}))
    back = rules_change(Rules(text="", config=prunes, files={}), Rules(text="", config=quiet, files={}))
    assert (there.words, there.wanted) == (('environment "prod" destroys by itself what is gone from the branch',), 2)
    assert (back.words, back.wanted) == (('environment "prod" destroys nothing by itself any more',), 0)
