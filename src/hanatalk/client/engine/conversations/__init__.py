"""Who is in a conversation and how that changes: KeyPackages, commits, eras, coming back, moving."""
