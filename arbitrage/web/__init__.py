"""The operator's surface over HTTP: reads views, sends commands through the operator's door. Decides nothing about trading."""
