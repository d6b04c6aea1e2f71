"""The rules in force on a screen: nothing that judges is left out."""

from datetime import UTC, datetime

from rich.console import Console

from tests.unit.test_trust import KEY
from tfops.config import parse_config
from tfops.report.rules_text import rules_tables
from tfops.standing import machines, people
from tfops.trust import gate_in, gate_of

TEXT = f"""
environment "prod" {{
  branch = "main"
  roots  = ["prod"]
  prune  = true
  approval {{
    count      = 2
    from       = ["signed", "forge"]
    codeowners = true
    max_age    = "72h"
  }}
  protect {{
    max_destroy = 0
    types       = ["aws_db_instance"]
  }}
  freeze "weekend" {{
    days     = ["sat", "sun"]
    timezone = "Europe/Berlin"
  }}
  freeze "holidays" {{
    begins = "2026-12-24T00:00:00Z"
    ends   = "2027-01-02T00:00:00Z"
  }}
}}
environment "lab" {{
  branch = "main"
  roots  = ["lab"]
}}
trust {{
  runner "ci" {{ public_key = "keys/ci.pub" }}
  runner "pr" {{
    public_key = "keys/pr.pub"
    only       = "speculative"
  }}
  approver "alice" {{
    ssh_key     = "{KEY}"
    github      = "alice-hub"
    emails      = ["alice@example.org"]
    teams       = ["@acme/infra"]
    valid_until = "2030-01-04T08:00:00Z"
  }}
  approver "bob" {{
    github  = "bob-hub"
    revoked = true
  }}
}}
policy "cost" {{
  command      = ["cost", "--limit", "5"]
  files        = ["limits.json"]
  environments = ["prod"]
}}
forge "github" {{ repository = "acme/infra" }}
review {{
  allow   = ["http"]
  modules = ["registry.example.org/acme"]
}}
"""


def shown(text: str = TEXT) -> str:
    rules = parse_config(text, "tfops.hcl")
    gates = [(one.name, gate_of(one.name, gate_in(one), (), rules)) for one in rules.environments]
    who = people(rules, rules, datetime(2026, 6, 1, tzinfo=UTC))
    console = Console(width=250)
    with console.capture() as captured:
        for part in rules_tables(rules, gates, who, machines(rules.runners, {"ci", "pr"})):
            console.print(part)
    return captured.get()


def line_of(name: str) -> str:
    return next(" ".join(line.split()) for line in shown().splitlines() if line.startswith(name))


def test_what_an_environment_asks_for_is_shown_in_full():
    assert line_of("prod").startswith("prod 2 signatures asked 72 h destroys 0 at most cost")
    text = shown()
    assert "reviews on the forge" in text
    assert "loses none of aws_db_instance" in text
    assert "frozen: weekend (sat, sun, 00:00 to 00:00 Europe/Berlin)" in text
    assert "frozen: holidays (2026-12-24 00:00 to 2027-01-02 00:00 UTC)" in text
    assert "destroys by itself what is gone" in text
    assert "nothing is applied by itself" in line_of("lab")


def test_a_person_is_shown_with_keys_logins_teams_and_the_end_of_their_time():
    fingerprint = "SHA256:"
    alice = line_of("alice")
    assert alice.startswith(f"alice yes ssh-ed25519 {fingerprint}")
    assert alice.endswith("github alice-hub alice@example.org @acme/infra 2030-01-04 08:00Z")
    assert line_of("bob").startswith("bob no: revoked – github bob-hub")


def test_runners_policies_forge_and_what_changes_may_do_are_shown():
    assert line_of("ci") == "ci yes everything keys/ci.pub"
    assert line_of("pr ") == "pr yes speculative plans only keys/pr.pub"
    assert line_of("cost") == "cost prod cost --limit 5 limits.json"
    text = shown()
    assert "forge: github at https://github.com, acme/infra" in text
    assert "code for review: may use http; modules from registry.example.org/acme; providers from anywhere" in text


def test_without_anybody_in_trust_it_says_so():
    text = shown('environment "lab" {\n  branch = "main"\n  roots = ["lab"]\n  approval { count = 0 }\n}\n')
    assert "nobody" in text
    assert "forge: none" in text
