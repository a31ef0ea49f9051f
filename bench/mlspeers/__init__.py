"""Programs that play the same life of a group with one implementation of MLS each, and print what it cost as JSON."""
