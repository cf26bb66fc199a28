"""Contract suites for the protocols of besom: a second implementation subclasses them and must pass."""
