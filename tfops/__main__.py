"""`python -m tfops`."""

from tfops.cli.main import main

main()
