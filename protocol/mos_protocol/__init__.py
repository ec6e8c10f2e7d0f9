"""What crosses the wire: signed manifests, bundles, releases, admission rules."""
