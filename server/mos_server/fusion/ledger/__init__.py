"""The ledger: every concept's moments on disk, so that joins are constant work."""
