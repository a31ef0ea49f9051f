-- Own messages that were not delivered (spec/03-messages.md, HT-C-070 …).

ALTER TABLE message ADD COLUMN failed INTEGER NOT NULL DEFAULT 0;  -- nobody will be sent it again, and somebody has not confirmed it
ALTER TABLE message ADD COLUMN resent_at INTEGER;  -- when a person asked to send it again (this device's clock), NULL: never
