"""Where state lives: embedded or configured PostgreSQL and Valkey, the journal, snapshots. Decides nothing about trading."""
