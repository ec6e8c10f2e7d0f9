"""The commands of `mos-lab`."""
