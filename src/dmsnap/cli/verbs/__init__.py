"""One module a verb: parse, call the library, render. See `dmsnap.cli.registry`."""
