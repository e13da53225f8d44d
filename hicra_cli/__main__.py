"""`python -m hicra_cli` is `hicra`."""

from hicra_cli.app import main

main()
