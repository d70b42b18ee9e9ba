"""What the service at the line should do: a TOML file as frozen dataclasses."""
