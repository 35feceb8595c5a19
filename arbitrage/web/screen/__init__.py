"""The dashboard: pages, charts, the live first screen. Reads the daemon; changes nothing but through the API."""
