"""What every package stands on: files, locks, console, processes, events."""
