-- Attachments (spec/03-messages.md, Attachments). What they hold lies sealed in files beside this database, one each; keys, names and
-- previews stand in the body of their message (table content) or, for a bundle, in table mls under "bundle" and its id. A row is what
-- it takes to bring the chunks to a relay, from there, or to have them erased there; it says nothing of what is in them.
CREATE TABLE attachment (
    number       INTEGER PRIMARY KEY,
    message      BLOB NOT NULL,      -- or the id of a bundle
    position     INTEGER NOT NULL,   -- in its message
    bundle       INTEGER NOT NULL,   -- belongs to no message
    state        INTEGER NOT NULL,   -- rows.Transfer
    relay        TEXT NOT NULL,
    channel      BLOB NOT NULL,
    read_token   BLOB NOT NULL,
    write_half   BLOB NOT NULL,      -- own: the token; another's: its verifier
    chunks       INTEGER NOT NULL,
    size         INTEGER NOT NULL,   -- bytes without padding
    file         TEXT,               -- NULL: nothing of it is here
    erase_token BLOB,               -- own: the erase token of its chunks; their entry ids are derived from it
    burn_after   INTEGER,            -- own
    reader       BLOB,               -- another's
    incarnation  BLOB,               -- of its channel, as first seen
    cursor       INTEGER NOT NULL DEFAULT 0,  -- another's: everything up to this seq was looked at; own: when its place was said last
    asked        INTEGER NOT NULL DEFAULT 0,  -- another's: how often its sender was asked to leave it again; own: how often it was
    asked_at     INTEGER,
    placed_at    INTEGER,            -- own: when the relay had all of it
    failure      TEXT,               -- code, of one that is refused
    UNIQUE (message, position)
);
CREATE INDEX attachment_state ON attachment (state, relay);

-- Chunks that are where they should be: own ones at the relay, another's in the file here.
CREATE TABLE chunk (
    attachment INTEGER NOT NULL,  -- number
    position   INTEGER NOT NULL,
    digest     BLOB,              -- another's: SHA-256 of the sealed chunk
    PRIMARY KEY (attachment, position)
) WITHOUT ROWID;
