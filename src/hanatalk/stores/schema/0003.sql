-- First answers in runs, appended, instead of a row each among random entry_ids, which dirtied a page each (HT-S-028). What
-- the table of version 2 holds is moved before it goes (stores/upgrading.py).
CREATE TABLE answers (
    n   INTEGER PRIMARY KEY,          -- channel's number << 32 | seq of the first
    day INTEGER NOT NULL,             -- of all of them
    run BLOB NOT NULL                 -- 24 bytes each: entry_id, seq, turn after the entry (4 bytes each, big-endian)
) STRICT;
