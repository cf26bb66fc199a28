"""How good and how cheap the search methods are; see `__main__`."""
