"""What commands print, for people and as JSON; one module per command."""
