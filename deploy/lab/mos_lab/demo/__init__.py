"""The demo: three made-up sites, one federation for real, and a page about it."""
