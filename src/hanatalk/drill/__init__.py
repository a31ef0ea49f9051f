"""Rehearsals on real relays and real profiles: what a warrant finds, what a lost relay costs.

Nothing here prints: a rehearsal yields what it measured, and `hanatalk.cli` says it.
"""
