"""The centre's end of the federation: Flower's ServerApp, admission, publishing."""
