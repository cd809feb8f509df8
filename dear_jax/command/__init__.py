"""The command `dear`: a module for each subcommand, and what they share."""
