"""The centre: admission, fusion, releases, and the Flower server."""
