"""`python -m mos_server`, which is how `mos-server serve` starts the page."""

from mos_server.cli import main

main()
