"""What people write: from a body to the outbox, receipts, gaps, timers, and what goes again."""
