"""Reviews on each forge: what was approved and merged is applied; what is stale, unknown or somebody's own is not."""

import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.people import Team
from tests.e2e.reviewed import KINDS, TWO, Reviewed, begun, fake
from tests.e2e.sandbox import RESOURCE, Sandbox

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="no OpenSSH client"),
]

ALLOWING = 'review {\n  allow = ["external"]\n}\n'
OTHER = RESOURCE.replace('"a"', '"b"')


@pytest.fixture(params=KINDS)
def anywhere(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Reviewed]:
    """A deployed stack on each of the forges."""
    yield from begun(request.param, sandbox)


@pytest.fixture
def github(sandbox: Sandbox) -> Iterator[Reviewed]:
    """A deployed stack on GitHub, where a story is the same on every forge."""
    yield from begun("github", sandbox)


def test_an_approved_merge_is_applied_and_its_reviewers_are_on_record(anywhere: Reviewed) -> None:
    number = anywhere.approved("pr", {"prod/main.tf": TWO}, "alice", "bob")
    anywhere.merge(number)
    done = anywhere.sync(expect=0)
    assert done.outcomes == {"prod": "applied"}
    newest = anywhere.team.sandbox.history("prod")[0]
    assert newest["approved_by"] == ["alice", "bob"]
    anywhere.sync(expect=0)


def test_a_stale_approval_is_refused(anywhere: Reviewed) -> None:
    number = anywhere.approved("pr", {"prod/main.tf": TWO}, "alice", "bob")
    head = anywhere.push("pr", {"prod/main.tf": TWO, "prod/more.tf": OTHER})
    anywhere.plan("pr")
    anywhere.merge(number)
    reasons = anywhere.waits()
    assert "asks for 2 approvals; there are 0" in reasons
    assert head[:12] in reasons, reasons


def test_what_a_forge_does_not_say_is_unknown_and_refused(anywhere: Reviewed) -> None:
    number = anywhere.approved("pr", {"prod/main.tf": TWO}, "alice", "bob")
    anywhere.merge(number)
    anywhere.forge.fail(lambda request: True, 503, times=None)
    assert "unknown, so nothing of it counts" in anywhere.waits()


def test_one_review_is_not_enough_and_it_says_who_is_missing(github: Reviewed) -> None:
    github.merge(github.approved("pr", {"prod/main.tf": TWO}, "alice"))
    reasons = github.waits()
    assert "there are 1" in reasons
    assert "1 more needed, from bob or carol" in reasons


def test_a_request_for_changes_vetoes_and_a_later_approval_of_the_same_person_lifts_it(anywhere: Reviewed) -> None:
    number = anywhere.approved("pr", {"prod/main.tf": TWO}, "alice", "bob")
    anywhere.forge.reject(number, "carol")
    anywhere.merge(number)
    assert "carol asked for changes in change #" in anywhere.waits()
    anywhere.forge.approve(number, "carol")
    assert anywhere.sync(expect=0).outcomes == {"prod": "applied"}


def test_nobody_approves_their_own_change_on_a_forge(github: Reviewed) -> None:
    number = github.approved("pr", {"prod/main.tf": TWO}, "alice", "bob", author="alice")
    github.merge(number)
    reasons = github.waits()
    assert "there are 1" in reasons
    assert "nobody approves their own work" in reasons


@pytest.mark.parametrize("how", ["squash", "rebase", "fast-forward"])
def test_however_it_was_merged_what_was_approved_is_applied(github: Reviewed, how: str) -> None:
    number = github.propose("pr", {"prod/main.tf": TWO})
    github.push("pr", {"prod/main.tf": TWO, "prod/more.tf": OTHER})
    github.plan("pr")
    for person in ("alice", "bob"):
        github.forge.approve(number, person)
    github.merge(number, how)
    assert github.sync(expect=0).outcomes == {"prod": "applied"}


def test_two_changes_of_a_merge_queue_go_through_together(github: Reviewed) -> None:
    one = github.approved("one", {"prod/main.tf": TWO}, "alice", "bob")
    other = github.approved("other", {"prod/more.tf": OTHER}, "bob", "carol")
    github.merge(one)
    github.merge(other)
    assert github.sync(expect=0).outcomes == {"prod": "applied"}
    assert github.team.sandbox.history("prod")[0]["approved_by"] == ["alice", "bob", "carol"]


def test_a_push_below_an_approved_merge_waits_and_is_named(github: Reviewed) -> None:
    number = github.approved("pr", {"prod/main.tf": TWO}, "alice", "bob")
    sneaky = github.team.sandbox.commit({"prod/more.tf": OTHER})
    github.merge(number)
    reasons = github.waits()
    assert f"commit {sneaky[:12]} (prod/more.tf): github knows no merged change that brought it" in reasons
    assert "terraform_data.b would change in a way that no approved plan says" in reasons


def test_an_evil_merge_waits(github: Reviewed) -> None:
    github.approved("pr", {"prod/main.tf": TWO}, "alice", "bob")
    sandbox = github.team.sandbox
    sandbox.git("merge", "-q", "--no-ff", "--no-commit", "origin/pr")
    sandbox.commit({"prod/more.tf": OTHER})
    reasons = github.waits()
    assert "somebody added to it" in reasons, reasons


def test_a_push_that_touches_nothing_of_the_stack_disturbs_nothing(github: Reviewed) -> None:
    number = github.approved("pr", {"prod/main.tf": TWO}, "alice", "bob")
    github.team.sandbox.commit({"README.md": "hello"})
    github.merge(number)
    assert github.sync(expect=0).outcomes == {"prod": "applied"}


def test_a_revert_needs_reviews_of_its_own(github: Reviewed) -> None:
    github.merge(github.approved("pr", {"prod/main.tf": TWO}, "alice", "bob"))
    github.sync(expect=0)
    github.team.sandbox.commit({"prod/main.tf": RESOURCE})
    assert "knows no merged change that brought it" in github.waits()


def test_a_change_back_and_forth_does_not_bring_an_old_review_to_life(github: Reviewed) -> None:
    github.merge(github.approved("pr", {"prod/main.tf": TWO}, "alice", "bob"))
    github.sync(expect=0)
    github.merge(github.approved("back", {"prod/main.tf": RESOURCE}, "alice", "bob"))
    github.sync(expect=0)
    github.team.sandbox.commit({"prod/main.tf": TWO})
    github.waits()


def test_a_review_without_a_plan_to_look_at_waits_and_says_so(github: Reviewed) -> None:
    number = github.propose("pr", {"prod/main.tf": TWO})
    for person in ("alice", "bob"):
        github.forge.approve(number, person)
    github.merge(number)
    reasons = github.waits()
    assert f"change #{number}: no plan of it was made for prod" in reasons
    assert "tfops plan --speculative" in reasons


def test_a_force_push_of_the_branch_waits(github: Reviewed) -> None:
    number = github.approved("pr", {"prod/main.tf": TWO}, "alice", "bob")
    github.merge(number)
    sandbox = github.team.sandbox
    sandbox.git("reset", "-q", "--hard", "HEAD~1")
    sandbox.write({"prod/main.tf": TWO.replace("two", "three")})
    sandbox.git("commit", "-q", "-am", "rewritten")
    sandbox.git("push", "-q", "-f", "origin", "main")
    github.waits()


def test_a_stranger_and_a_reader_do_not_count(github: Reviewed) -> None:
    number = github.approved("pr", {"prod/main.tf": TWO}, "dave", "alice", author="someone")
    github.forge.person("alice", may_write=False)
    github.merge(number)
    reasons = github.waits()
    assert "trust names nobody of that login" in reasons
    assert "they have no right to write to the repository" in reasons


def test_without_a_token_reviews_are_unknown(github: Reviewed) -> None:
    github.merge(github.approved("pr", {"prod/main.tf": TWO}, "alice", "bob"))
    found = github.team.sandbox.sync(expect=3)
    assert "there is no token for github" in "\n".join(found["prod"]["reasons"])


def test_signed_approvals_count_beside_reviews_where_both_are_taken(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    with fake("github", team) as forge:
        both = Reviewed(team=team, forge=forge)
        both.begin(approval='from = ["forge", "signed"]')
        number = both.approved("pr", {"prod/main.tf": TWO}, "alice")
        both.merge(number)
        waiting = both.sync(expect=3)["prod"]["plan_id"]
        assert team.approve(waiting, "bob").code == 0
        assert both.sync(expect=0).outcomes == {"prod": "applied"}
        assert sandbox.history("prod")[0]["approved_by"] == ["alice", "bob"]


def test_a_signed_approval_does_not_count_where_only_reviews_do(github: Reviewed) -> None:
    github.team.sandbox.commit({"prod/main.tf": TWO})
    waiting = github.sync(expect=3)["prod"]["plan_id"]
    assert github.team.approve(waiting, "alice").code == 0
    assert "this environment counts reviews on the forge only" in github.waits()


def test_a_change_of_the_rules_is_approved_by_the_reviews_of_its_change(github: Reviewed) -> None:
    number = github.propose("looser", {"tfops.hcl": github.config(count=0)})
    github.merge(number)
    assert github.sync(expect=3).json["rules"] is not None
    for person in ("alice", "bob"):
        github.forge.approve(number, person)
    github.sync(expect=0)
    assert github.sync(expect=0).json["rules"] is None


def rules_by(github: Reviewed, name: str, author: str, text: str, *people: str) -> None:
    """A change of tfops.hcl by one person, approved by others, and merged."""
    number = github.propose(name, {"tfops.hcl": text}, author=author)
    github.plan(name, expect=0)
    for person in people:
        github.forge.approve(number, person)
    github.merge(number)


def test_three_people_who_take_turns_change_the_rules_by_two_changes_that_land_together(github: Reviewed) -> None:
    rules_by(github, "one", "alice", github.config(extra=ALLOWING), "bob", "carol")
    rules_by(github, "two", "bob", github.config(count=1), "alice", "carol")
    assert github.sync(expect=0).json["rules"] is None


def test_a_comment_that_somebody_pushed_into_the_rules_keeps_no_later_change_of_them(github: Reviewed) -> None:
    github.team.sandbox.commit({"tfops.hcl": github.config() + "# words\n"})
    github.sync(expect=0)
    github.follow()
    rules_by(github, "two", "dave", github.config(count=1) + "# words\n", "alice", "bob")
    assert github.sync(expect=0).json["rules"] is None


def test_attack_a_rule_is_pushed_below_an_approved_change_of_another_rule(github: Reviewed) -> None:
    commit = github.team.sandbox.commit({"tfops.hcl": github.config(extra=ALLOWING)})
    github.follow()
    rules_by(github, "two", "dave", github.config(count=1, extra=ALLOWING), "alice", "bob", "carol")
    waiting = github.sync(expect=3).json["rules"]
    assert waiting["approved_by"] == []
    assert any(f"commit {commit[:12]}" in reason for reason in waiting["reasons"]), waiting


def test_a_change_of_the_rules_with_too_few_reviews_is_named_among_others(github: Reviewed) -> None:
    rules_by(github, "one", "alice", github.config(extra=ALLOWING), "bob")
    rules_by(github, "two", "bob", github.config(count=1), "alice", "carol")
    waiting = github.sync(expect=3).json["rules"]
    assert any("makes other rules, and has 1 of 2 approvals" in reason for reason in waiting["reasons"]), waiting


def test_a_pull_request_that_names_another_forge_is_judged_by_the_one_in_force(github: Reviewed) -> None:
    evil = github.config().replace("acme/infra", "mallory/infra")
    number = github.propose("evil", {"tfops.hcl": evil, "prod/main.tf": TWO})
    github.merge(number)
    found = github.sync(expect=3)
    assert any("the forge is github" in word for word in found.json["rules"]["changes"])
    assert not github.forge.sent("GET", "mallory")


def test_code_owners_of_the_rules_in_force_have_to_approve(sandbox: Sandbox) -> None:
    team = Team(sandbox=sandbox)
    with fake("github", team) as forge:
        owned = Reviewed(team=team, forge=forge)
        sandbox.commit({".github/CODEOWNERS": "prod/ @carol\n.github/ @carol\n"})
        owned.begin(count=1, approval='from = ["forge"]\n    codeowners = true')
        number = owned.approved("pr", {"prod/main.tf": TWO, ".github/CODEOWNERS": "prod/ @alice\n"}, "alice")
        owned.merge(number)
        found = owned.sync(expect=3)
        reasons = "\n".join(found["prod"]["reasons"])
        assert "prod/main.tf needs an approval of @carol (.github/CODEOWNERS)" in reasons, found
        assert ".github/CODEOWNERS changed" in found.json["rules"]["changes"]
        forge.approve(number, "carol")
        assert owned.sync(expect=0).outcomes == {"prod": "applied"}


def test_what_no_review_can_say_is_signed_also_where_only_reviews_count(sandbox: Sandbox) -> None:
    """A forge has no word for letting a plan pass what is protected."""
    team = Team(sandbox=sandbox)
    with fake("github", team) as forge:
        strict = Reviewed(team=team, forge=forge)
        strict.begin(approval='from = ["forge"]\n  }\n  protect {\n    max_destroy = 0')
        number = strict.approved("pr", {"prod/main.tf": OTHER}, "alice", "bob")
        strict.merge(number)
        waiting = strict.sync(expect=3)
        assert "it would destroy 1 object" in "\n".join(waiting["prod"]["reasons"])
        for person in ("alice", "bob"):
            assert team.approve(waiting["prod"]["plan_id"], person, "--override", "protect").code == 0
        assert strict.sync(expect=0).outcomes == {"prod": "applied"}
        newest = sandbox.history("prod")[0]
        assert (newest["approved_by"], newest["overrides"]) == (["alice", "bob"], ["protect"])
