"""Terraform out of a shared library, as a program of its own. Run as a script, never imported.

    python -I -S embedded.py LIBRARY ARGUMENT…

The library is loaded in this process only, so that Terraform's environment, signals and exit code are those of a
program, exactly as with the real binary.
"""

import ctypes
import os
import sys


def main() -> int:
    """Run one command out of the library; returns its exit code."""
    library = ctypes.CDLL(sys.argv[1])
    library.RunCli.argtypes = [
        ctypes.c_int64,
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.c_int64,
        ctypes.c_int64,
    ]
    library.RunCli.restype = ctypes.c_int
    arguments = [os.fsencode(argument) for argument in sys.argv[2:]]
    array = (ctypes.c_char_p * len(arguments))(*arguments)
    # Go closes what it is given when the command ends.
    return int(library.RunCli(len(arguments), array, os.dup(1), os.dup(2)))


os._exit(main())
