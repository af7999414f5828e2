"""The command line: tables of commands and options, Fire as parser, one error boundary."""
