"""One module a command of `mos-server`; heavy imports stay inside the functions."""
