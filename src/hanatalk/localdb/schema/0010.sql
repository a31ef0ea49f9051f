-- What is larger than one entry (spec/02-mls-profile.md, HT-M-088, HT-M-089).

-- Where the pieces of commits lie among the control entries.
CREATE TABLE piece (
    channel BLOB NOT NULL,
    digest  BLOB NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (channel, digest, seq)
) WITHOUT ROWID;

-- Welcomes whose body lies in a channel of its own, and what has come of it.
CREATE TABLE annex (
    channel BLOB PRIMARY KEY,
    ref     BLOB NOT NULL,  -- KeyPackageRef
    whole   BLOB NOT NULL   -- its length and the hashes of its pieces
) WITHOUT ROWID;
CREATE TABLE annexed (
    channel BLOB NOT NULL,
    digest  BLOB NOT NULL,
    piece   BLOB NOT NULL,
    PRIMARY KEY (channel, digest)
) WITHOUT ROWID;
