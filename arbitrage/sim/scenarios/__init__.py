"""What the simulated venues serve: timed market changes from recordings or from a seed. Opens no socket."""
