-- Relays that are gone (spec/02-mls-profile.md, Moving).

-- Tried in vain while another relay was reached: since when, how often. Reset by reaching it.
ALTER TABLE relay ADD COLUMN failing_since INTEGER;
ALTER TABLE relay ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;
