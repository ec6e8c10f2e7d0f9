"""Sites: who is one, under which key, within which quota."""
