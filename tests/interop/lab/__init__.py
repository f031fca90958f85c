"""What stands around the program under test: a daemon with a configuration of its own, receivers, telephones, bots."""
