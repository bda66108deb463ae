"""The training loop: one step, its schedule, metrics and state."""
