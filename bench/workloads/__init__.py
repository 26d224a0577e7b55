"""The work that is compared: `problems` states it once (sizes, data, tolerances), `on_*` does it once per framework."""
