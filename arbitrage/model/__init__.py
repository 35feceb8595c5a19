"""The nouns of the house. Imports msgspec and the standard library only, and holds no behaviour that needs the world."""
