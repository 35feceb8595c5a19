"""Fire drills: the operator's own configuration against simulated exchanges that misbehave. They touch no real venue."""
