"""Log: chunks of lines to the standard output, to Twisted's log and to files."""
