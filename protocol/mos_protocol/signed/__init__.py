"""What is signed, by which keys: envelopes, bundles, releases, statements."""
