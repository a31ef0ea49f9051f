-- What has just arrived lies in two files beside the database (HT-S-022, stores/landing.py) and no longer in tables. What
-- the tables of version 1 still hold is moved into `landed_*` before they go (stores/upgrading.py).

-- A record, as the files hold them, of a commit that changed other tables too: it stands in the same transaction. There is
-- one for each side: what is settled is cleared whole, every page of it.
CREATE TABLE landed_0 (
    n    INTEGER PRIMARY KEY,         -- order of the commits, whichever file or table they stand in
    news BLOB NOT NULL                -- MessagePack, HT-S-026
) STRICT;
CREATE TABLE landed_1 (
    n    INTEGER PRIMARY KEY,
    news BLOB NOT NULL
) STRICT;

-- One row.
CREATE TABLE progress (
    settled INTEGER NOT NULL          -- records up to this n count no more, wherever they lie
) STRICT;
INSERT INTO progress (settled) VALUES (0);
