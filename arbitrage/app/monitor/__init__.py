"""The first screen in a terminal, read from outside: over the API, or from what the daemon leaves. Changes nothing."""
