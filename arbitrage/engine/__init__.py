"""The one door: routes events to the rooms below, applies facts, collects effects. Knows no time, no wire, no store."""
