"""The classes that Hydra finds by scanning this namespace; `besom_hydra` does the work."""
