"""The ways out of the line, each in a module that is imported only when it is configured."""
