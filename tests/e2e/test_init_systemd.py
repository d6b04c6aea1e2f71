"""`tfops init --systemd`: units for this clone, written once and never over somebody's own."""

from tests.e2e.sandbox import RESOURCE, TFOPS, Sandbox, environment

UNITS = ["tfops-drift.service", "tfops-drift.timer", "tfops-sync.service", "tfops-sync.timer"]


SCHEDULED = environment("dev").removesuffix("}\n") + '  drift { every = "1h" }\n}\n'


def prepared(sandbox: Sandbox) -> Sandbox:
    sandbox.commit({"tfops.hcl": SCHEDULED, "dev/main.tf": RESOURCE})
    return sandbox


def test_the_units_start_the_program_that_wrote_them_on_this_clone_and_may_write_its_places(
    bare_sandbox: Sandbox,
) -> None:
    sandbox = prepared(bare_sandbox)
    made = sandbox.json("init", "--systemd").json
    assert sorted(path.name for path in (sandbox.clone / "systemd").iterdir()) == UNITS
    assert {f"systemd/{name}" for name in UNITS} <= set(made["made"])
    assert not any("systemd" in name for name in made["commit"])  # they name this machine's paths
    text = (sandbox.clone / "systemd" / "tfops-sync.service").read_text()
    assert f"ExecStart={TFOPS} -C {sandbox.clone} sync --branch main\n" in text
    assert f"ReadWritePaths={sandbox.clone}/.git {sandbox.cache} {made['store']}\n" in text
    assert f"Environment=PATH={sandbox.env['PATH']}\n" in text
    assert sandbox.cache.is_dir()


def test_the_commands_that_install_the_units_are_printed(bare_sandbox: Sandbox) -> None:
    sandbox = prepared(bare_sandbox)
    shown = sandbox.tfops("init", "--systemd")
    assert "sudo install -m 644 systemd/tfops-sync.* systemd/tfops-drift.* /etc/systemd/system/" in shown.out
    assert "enable --now tfops-sync.timer tfops-drift.timer" in shown.out


def test_a_unit_that_somebody_changed_is_kept_and_named(bare_sandbox: Sandbox) -> None:
    sandbox = prepared(bare_sandbox)
    sandbox.json("init", "--systemd")
    changed, removed = (sandbox.clone / "systemd" / name for name in ("tfops-sync.timer", "tfops-drift.timer"))
    changed.write_text("[Timer]\nOnCalendar=daily\n")
    removed.unlink()
    again = sandbox.json("init", "--systemd").json
    assert changed.read_text() == "[Timer]\nOnCalendar=daily\n"
    assert again["made"] == ["systemd/tfops-drift.timer"]
    (note,) = again["notes"]
    assert "kept systemd/tfops-sync.timer" in note
    assert "delete it first" in note


def test_without_a_schedule_the_drift_timer_is_written_but_not_started(bare_sandbox: Sandbox) -> None:
    sandbox = bare_sandbox
    sandbox.commit({"main.tf": RESOURCE})
    made = sandbox.json("init", "--systemd").json
    assert 'drift { every = "1h" }' in " ".join(made["notes"])
    assert "tfops-drift.timer" not in made["install"][-1]


def test_without_being_asked_init_writes_no_units(bare_sandbox: Sandbox) -> None:
    sandbox = prepared(bare_sandbox)
    made = sandbox.json("init").json
    assert (made["install"], made["notes"]) == ([], [])
    assert not (sandbox.clone / "systemd").exists()


def test_in_a_linked_working_tree_the_shared_git_directory_may_be_written(bare_sandbox: Sandbox) -> None:
    sandbox = prepared(bare_sandbox)
    linked = sandbox.directory / "linked"
    sandbox.git("worktree", "add", "-q", "-b", "other", str(linked))
    assert sandbox.json("init", "--systemd", cwd=linked).code == 0
    text = (linked / "systemd" / "tfops-sync.service").read_text()
    assert f"ReadWritePaths={sandbox.clone}/.git " in text
    assert "sync --branch other" in text
