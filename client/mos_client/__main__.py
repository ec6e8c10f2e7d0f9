"""`python -m mos_client`, which is how `accelerate launch -m` starts a program."""

from mos_client.cli import main

main()
