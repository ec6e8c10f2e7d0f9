"""One module a command of `mos-client`; heavy imports stay inside the functions."""
