"""systemd units that run tfops on timers: sync and drift, for one clone on one machine. Text only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

SYNC_TIMER = "tfops-sync.timer"
DRIFT_TIMER = "tfops-drift.timer"

_SERVICE = """\
# Written by `tfops init --systemd` for one clone on this machine. To change it: systemctl edit {name}
[Unit]
Description={description}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
User={user}
ExecStart={command}
SuccessExitStatus={success}
{environment}
# What `pass_env` names, and credentials; mode 0600.
EnvironmentFile=-{environment_file}

# tfops alone stops Terraform, gently and once; a second signal would lose data. It may take as long as a stack may.
KillMode=process
KillSignal=SIGINT
TimeoutStopSec={stop_seconds}
OOMPolicy=continue

# Whatever else Terraform writes (a plugin cache, the path of a local backend) must be added here.
ReadWritePaths={writable}
ProtectSystem=strict
ProtectHome=read-only
PrivateTmp=true
PrivateDevices=true
ProtectKernelTunables=true
ProtectKernelModules=true
ProtectKernelLogs=true
ProtectControlGroups=true
ProtectClock=true
ProtectHostname=true
NoNewPrivileges=true
CapabilityBoundingSet=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=true
RestrictRealtime=true
RestrictSUIDSGID=true
LockPersonality=true
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
"""

_TIMER = """\
[Unit]
Description={description}

[Timer]
OnCalendar={calendar}
RandomizedDelaySec={delay}
FixedRandomDelay=true
Persistent=true

[Install]
WantedBy=timers.target
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Which tfops the units start, where and as whom. `writable` are the directories it may write into."""

    program: str
    clone: str
    branch: str
    user: str
    environ: Mapping[str, str]
    environment_file: str
    writable: tuple[str, ...]
    stop_seconds: float


def units(setup: Setup) -> dict[str, str]:
    """The text of each unit by its file's name."""
    drift = ("drift", "--due", "--max-runtime", "50m")
    # Waiting for an approval (3), drift (2) and an end that was asked for (130) are no failures of the unit.
    return {
        "tfops-sync.service": _service(setup, "tfops-sync.service", ("sync",), success="3 130"),
        SYNC_TIMER: _timer("sync", calendar="*:0/5", delay="1min"),
        "tfops-drift.service": _service(setup, "tfops-drift.service", drift, success="2 3 130"),
        DRIFT_TIMER: _timer("drift", calendar="*:0/10", delay="5min"),
    }


def install_commands(directory: str, *, timers: tuple[str, ...]) -> tuple[str, ...]:
    """What root types to install the units and start `timers`. Copies: a linked file could be changed by its owner."""
    return (
        f"sudo install -m 644 {directory}/tfops-sync.* {directory}/tfops-drift.* /etc/systemd/system/",
        f"sudo systemctl daemon-reload && sudo systemctl enable --now {' '.join(timers)}",
    )


def _service(setup: Setup, name: str, words: tuple[str, ...], *, success: str) -> str:
    command = (setup.program, "-C", setup.clone, *words, "--branch", setup.branch)
    return _SERVICE.format(
        name=name,
        description=_escaped(f"tfops {words[0]} of {setup.branch} in {setup.clone}"),
        user=setup.user,
        command=" ".join(_quoted(word).replace("$", "$$") for word in command),
        success=success,
        environment="\n".join(f"Environment={_quoted(f'{key}={value}')}" for key, value in setup.environ.items()),
        environment_file=_escaped(setup.environment_file),
        stop_seconds=math.ceil(setup.stop_seconds),
        writable=" ".join(_quoted(path) for path in setup.writable),
    )


def _timer(verb: str, *, calendar: str, delay: str) -> str:
    return _TIMER.format(description=f"tfops {verb}, every few minutes", calendar=calendar, delay=delay)


def _quoted(word: str) -> str:
    """One word as systemd reads it (systemd.syntax(7)); in quotes only where it must be."""
    escaped = _escaped(word.replace("\\", "\\\\").replace('"', '\\"'))
    return escaped if escaped == word and not set(word) & set(" \t';") else f'"{escaped}"'


def _escaped(text: str) -> str:
    return text.replace("%", "%%").replace("\n", "\\n")
