"""The endpoints for machines: probes, state, records, commands, configuration, signing in, people, events. Draws nothing."""
