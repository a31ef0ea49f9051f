-- What is to go for good lies where SQLite leaves no copies of it (docs/adr/0010, HT-S-060 … HT-S-063).

-- Bodies of numbered messages. Rows are appended in ascending order and never deleted, so no row is ever moved to another
-- page; what is forgotten becomes NULL where it stands.
CREATE TABLE content (
    number INTEGER PRIMARY KEY,  -- message.number
    body   BLOB                  -- as sent; NULL: expired or recalled
);
INSERT INTO content SELECT number, body FROM message ORDER BY number;
ALTER TABLE message DROP COLUMN body;
ALTER TABLE message DROP COLUMN text;

-- How long a message stays once it was read (another's) or stored at a relay (own), in milliseconds; when it goes; and
-- whether its sender took it back. `expires_at` is by the clock that never goes back (HT-C-042).
ALTER TABLE message ADD COLUMN timer INTEGER;
ALTER TABLE message ADD COLUMN expires_at INTEGER;
ALTER TABLE message ADD COLUMN recalled INTEGER NOT NULL DEFAULT 0;
CREATE INDEX message_expires ON message (expires_at) WHERE expires_at IS NOT NULL;

-- Others' recalls of messages that have not arrived.
CREATE TABLE recall (
    message      BLOB PRIMARY KEY,
    conversation BLOB NOT NULL,
    account      BLOB NOT NULL
) WITHOUT ROWID;

-- Where own messages lie at relays, for as long as they may: what it takes to erase them.
CREATE TABLE placed (
    number      INTEGER PRIMARY KEY,
    message     BLOB NOT NULL,
    relay       TEXT NOT NULL,
    channel     BLOB NOT NULL,
    seq         INTEGER,           -- NULL: perhaps stored, its answer was never heard
    digest      BLOB NOT NULL,     -- SHA-256 of the entry
    erase_token BLOB NOT NULL,
    at          INTEGER NOT NULL,
    wanted      INTEGER NOT NULL DEFAULT 0  -- to be erased
);
CREATE INDEX placed_message ON placed (message);
CREATE INDEX placed_wanted ON placed (relay) WHERE wanted = 1;
CREATE INDEX placed_unheard ON placed (channel) WHERE seq IS NULL;
ALTER TABLE outbox ADD COLUMN erase_token BLOB;  -- of message entries

-- Rows of OpenMLS again, each value sealed (AES-256-GCM) with a random key of its own. A changed value gets a new key, which is
-- written over the old one: copies that SQLite left of the old value say nothing any more. `seal` is appended to and overwritten
-- in place, never deleted from; slots that are free are used again.
ALTER TABLE mls RENAME TO mls_open;
CREATE TABLE mls (
    owner BLOB NOT NULL,
    key   BLOB NOT NULL,
    slot  INTEGER NOT NULL,  -- of its key in `seal`
    value BLOB NOT NULL,     -- sealed
    PRIMARY KEY (owner, key)
) WITHOUT ROWID;
CREATE TABLE seal (
    slot INTEGER PRIMARY KEY,
    key  BLOB NOT NULL  -- 32 bytes; zeros: free
);
CREATE TABLE free_slot (
    slot INTEGER PRIMARY KEY
);
