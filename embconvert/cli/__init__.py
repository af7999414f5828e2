"""The command line: one table of commands, one of options, Fire to parse, one error boundary."""
