"""Running the house: layered configuration, logs, metrics, health. Refuses to trade and never touches a market."""
