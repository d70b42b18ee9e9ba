"""One module for each command; each parses its options, calls the library and prints."""
