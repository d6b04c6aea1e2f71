"""Starts a program that must not outlive tfops unseen. Run as a script, by `process.run`, never imported.

    python -I launcher.py PARENT_PID PROGRAM ARGUMENT…

Linux: when the thread that started us ends (also by kill -9 of tfops), the program gets SIGINT, on which
Terraform stops gently (reference/terraform.md C9). Elsewhere the program simply starts.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Arm the signal, then become the program."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    os.umask(0o077)
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
        if os.getppid() != parent:  # tfops died before the signal was armed
            sys.exit(130)
    try:
        os.execvp(program[0], program)  # noqa: S606  (no shell is wanted)
    except OSError as error:
        sys.stderr.write(f"cannot start {program[0]}: {error.strerror}\n")
        sys.exit(127)


main()
