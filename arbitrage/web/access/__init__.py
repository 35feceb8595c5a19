"""Who is asking, and may they: users, keys, sessions, tokens, limits. Answers no question of the daemon."""
