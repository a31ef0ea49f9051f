-- Whether an own message that a relay stored came back through its channel (spec/03-messages.md, HT-C-073).

ALTER TABLE placed ADD COLUMN shown INTEGER NOT NULL DEFAULT 0;
UPDATE placed SET shown = 1;  -- of those before nobody knows
CREATE INDEX placed_awaited ON placed (channel, seq) WHERE shown = 0;
