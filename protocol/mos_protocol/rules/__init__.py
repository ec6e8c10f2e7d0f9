"""The rules for taking something in. They do no IO; the time is an argument."""
