"""Other frameworks' programs, run by Evolute."""
