-- The relay's store, version 1 (spec/04-storage.md HT-S-020 …). Every file is encrypted page by page.
--
-- There is no exact time, no address, no user agent and no account. `day` is a whole UTC day since 1970-01-01.
--
-- Two kinds of tables. `landing_*` and `batch_*` take what has just arrived, in the order of arrival: that is what makes a
-- commit cheap. Within seconds (`SqliteStore.tend`) their rows are settled into the other tables, whose keys begin with a
-- random number of the channel, so that no order across channels is kept. Most messages are burned before that. There
-- are two of each: while one pair is being settled the other takes what arrives; a pair that is settled is cleared whole.

-- A channel. Its row outlives its last entry by the control retention.
CREATE TABLE channel (
    number       INTEGER PRIMARY KEY, -- random, 31 bits: says nothing about when the channel was made
    channel_id   BLOB NOT NULL UNIQUE,-- 32 bytes
    incarnation  BLOB NOT NULL,       -- 16 bytes, random
    head         INTEGER NOT NULL,    -- last seq given out; rows of `batch_*` may be newer
    turn         INTEGER NOT NULL,    -- commits so far
    refused_takes INTEGER NOT NULL,
    last_day     INTEGER NOT NULL,    -- last day on which it held an entry
    control_hash BLOB NOT NULL,       -- running hash over all control entries so far
    control_base INTEGER NOT NULL,    -- seq of the newest control entry that has expired: earlier hashes are forgotten
    entries      INTEGER NOT NULL,    -- settled: how many,
    bytes        INTEGER NOT NULL,    -- how many bytes,
    burning      INTEGER NOT NULL     -- and how many that wait for readers
) STRICT;

-- Entries that are held lie in the tables of shelf.sql, one per day.

-- The first answer to each entry_id, so that a repeated append is answered and not stored again.
CREATE TABLE answer (
    channel  INTEGER NOT NULL,        -- its number
    entry_id BLOB NOT NULL,           -- 16 bytes
    seq      INTEGER NOT NULL,
    turn     INTEGER NOT NULL,        -- after the entry
    day      INTEGER NOT NULL,
    PRIMARY KEY (channel, entry_id)
) STRICT, WITHOUT ROWID;

-- The running hash after each control entry. The newest expired one stays, as what the later ones build on.
CREATE TABLE control (
    n    INTEGER PRIMARY KEY,         -- channel's number << 32 | seq
    hash BLOB NOT NULL                -- 32 bytes
) STRICT;

-- Entries of class invite that are held, and who reserved them.
CREATE TABLE invite (
    n         INTEGER PRIMARY KEY,    -- channel's number << 32 | seq
    day       INTEGER NOT NULL,       -- of its append: it lies in `long_<day>`
    take_id   BLOB,                   -- 16 bytes
    taken_day INTEGER
) STRICT;
CREATE INDEX invite_day ON invite (taken_day) WHERE taken_day IS NOT NULL;

-- How far readers are, in channels that hold entries waiting for readers; nowhere else.
CREATE TABLE reader (
    channel INTEGER NOT NULL,         -- its number
    reader  BLOB NOT NULL,            -- 16 bytes
    seq     INTEGER NOT NULL,
    PRIMARY KEY (channel, reader)
) STRICT, WITHOUT ROWID;

-- Bodies of messages and attachments that have just arrived. Burned or erased, a row goes.
CREATE TABLE landing_0 (
    n    INTEGER PRIMARY KEY,         -- order of arrival
    body BLOB NOT NULL
) STRICT;
CREATE TABLE landing_1 (
    n    INTEGER PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

-- What else is to be known of them until they are settled, whether their bodies are still there or not.
CREATE TABLE batch_0 (
    n    INTEGER PRIMARY KEY,         -- order of the commits
    news BLOB NOT NULL                -- MessagePack: [[n of `landing_*`, channel's number, seq, class, day, turn,
                                      -- burn_after, erase_hash, entry_id, size] …], [[channel's number, reader, seq] …]
) STRICT;
CREATE TABLE batch_1 (
    n    INTEGER PRIMARY KEY,
    news BLOB NOT NULL
) STRICT;
