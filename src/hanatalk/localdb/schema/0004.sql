-- Old copies of a profile (spec/02-mls-profile.md, Old copies).

-- Given away before this copy was found to be old: what it opens may have gone on without us, so we ask to be added again.
ALTER TABLE key_package ADD COLUMN stale INTEGER NOT NULL DEFAULT 0;
