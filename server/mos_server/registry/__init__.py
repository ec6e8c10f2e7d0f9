"""What the centre keeps: sites, bundles, releases, keys."""
