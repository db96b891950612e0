"""One module for each subcommand: its flags, its help, and a call. What they do is elsewhere."""
