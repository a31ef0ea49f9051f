-- Entries of one day that stay equally long: `short_<day>` messages and attachments, `long_<day>` control and invite.
-- Made when the first one settles, dropped when the day is over its retention. SQLite's secure_delete clears what is
-- deleted, but when it moves rows between pages it leaves copies in their slack: only a whole table that goes takes
-- every copy with it (HT-S-013). Bodies lie outside of clustered keys: an ordinary table, the key is its row number.
CREATE TABLE {table} (
    n          INTEGER PRIMARY KEY,   -- channel's number << 32 | seq
    class      INTEGER NOT NULL,      -- 1 message, 2 attachment, 3 control, 4 invite
    turn       INTEGER NOT NULL,      -- of the channel, before a commit moved it
    is_commit  INTEGER NOT NULL,
    burn_after INTEGER,               -- erased once so many readers are past it
    erase_hash BLOB,                  -- 32 bytes
    body       BLOB NOT NULL          -- opaque, padded by the sender
) STRICT
