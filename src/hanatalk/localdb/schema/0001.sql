-- The local database of one profile (spec/04-storage.md). Times are milliseconds since 1970 by this device's clock.

-- Single values: "name", "device-seed", "account".
CREATE TABLE setting (
    key   TEXT PRIMARY KEY,
    value BLOB NOT NULL
) WITHOUT ROWID;

-- Relays this profile has to do with, and the key each showed when it was last reached.
CREATE TABLE relay (
    url TEXT PRIMARY KEY,
    key BLOB
) WITHOUT ROWID;

-- Accounts known here, the own one included.
CREATE TABLE account (
    account  BLOB PRIMARY KEY,
    name     TEXT NOT NULL,
    chain    BLOB NOT NULL,              -- MessagePack list of serialised links
    verified INTEGER NOT NULL DEFAULT 0  -- a person compared the safety number
) WITHOUT ROWID;

-- One MLS group each.
CREATE TABLE conversation (
    conversation BLOB PRIMARY KEY,
    kind         INTEGER NOT NULL,            -- policy.Kind
    state        INTEGER NOT NULL,            -- conversations.State
    policy       BLOB NOT NULL,               -- the GroupContext extension as agreed in the current epoch
    epoch        INTEGER NOT NULL,
    own_leaf     INTEGER NOT NULL,
    counter      INTEGER NOT NULL DEFAULT 0,  -- of the last own numbered message
    channel      BLOB NOT NULL,               -- of the current era
    created_at   INTEGER NOT NULL,
    updated_at   INTEGER NOT NULL,            -- own leaf's last commit or join
    receipt_due  INTEGER,                     -- when a receipt of our own is due, NULL: nothing to confirm
    receipt_sent INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- The roster of the current epoch.
CREATE TABLE member (
    conversation  BLOB NOT NULL,
    leaf          INTEGER NOT NULL,
    account       BLOB NOT NULL,
    device        BLOB NOT NULL,
    height        INTEGER NOT NULL,  -- of the chain named in its credential
    signature_key BLOB NOT NULL,
    since_epoch   INTEGER NOT NULL,
    path_commits  INTEGER NOT NULL DEFAULT 0,  -- in the current era
    heard_epoch   INTEGER NOT NULL DEFAULT 0,  -- newest epoch in which something of this device decrypted
    PRIMARY KEY (conversation, leaf)
) WITHOUT ROWID;

-- Rows of OpenMLS, written in the transaction of what they belong to. `owner` is a conversation or a KeyPackageRef.
CREATE TABLE mls (
    owner BLOB NOT NULL,
    key   BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (owner, key)
) WITHOUT ROWID;

-- Channels this device reads: eras, Welcome channels of own KeyPackages, own invites.
CREATE TABLE channel (
    channel      BLOB PRIMARY KEY,
    purpose      INTEGER NOT NULL,           -- channels.Purpose
    owner        BLOB NOT NULL,              -- conversation, KeyPackageRef or invite
    relay        TEXT NOT NULL,
    read_token   BLOB NOT NULL,
    write_token  BLOB NOT NULL,
    seal_key     BLOB NOT NULL,
    reader       BLOB NOT NULL,
    incarnation  BLOB,
    cursor       INTEGER NOT NULL DEFAULT 0,  -- everything up to this seq is processed
    turn         INTEGER NOT NULL DEFAULT 0,  -- after the entries up to cursor
    control_hash BLOB NOT NULL,               -- running hash over the control entries up to cursor
    since_epoch  INTEGER NOT NULL DEFAULT 0,
    started_at   INTEGER NOT NULL,
    closed       INTEGER NOT NULL DEFAULT 0   -- channels: 1 nothing is read any more; 2 left for a new era, but somebody may
                                              -- not have followed yet and need its commits
) WITHOUT ROWID;
CREATE INDEX channel_owner ON channel (owner);

-- The control entries of the eras read here: their running hash is compared with what others' commits carry, and a relay
-- that forgot gets them again.
CREATE TABLE control (
    channel      BLOB NOT NULL,
    seq          INTEGER NOT NULL,
    is_commit    INTEGER NOT NULL,
    control_hash BLOB NOT NULL,
    entry        BLOB NOT NULL,
    merged       INTEGER NOT NULL DEFAULT 0,  -- it moved this group on by an epoch
    PRIMARY KEY (channel, seq)
) WITHOUT ROWID;

-- A relay forgot or went back: these control entries are to be there again, in order, before anything else is sent.
CREATE TABLE restoring (
    channel   BLOB NOT NULL,
    position  INTEGER NOT NULL,
    is_commit INTEGER NOT NULL,
    entry     BLOB NOT NULL,
    PRIMARY KEY (channel, position)
) WITHOUT ROWID;

-- Frames that a relay stored and that only this device could leave there again: offers of open invites, and Welcomes until the
-- joiner is heard.
CREATE TABLE kept (
    channel BLOB PRIMARY KEY,
    owner   BLOB NOT NULL,  -- invite or conversation
    frame   BLOB NOT NULL   -- MessagePack of the outbox row
) WITHOUT ROWID;

-- People's messages and the other numbered ones, own and others'.
CREATE TABLE message (
    number       INTEGER PRIMARY KEY,  -- order of arrival here
    message      BLOB NOT NULL UNIQUE,
    conversation BLOB NOT NULL,
    account      BLOB NOT NULL,
    device       BLOB NOT NULL,
    counter      INTEGER NOT NULL,
    epoch        INTEGER NOT NULL,     -- in which it was first sent or received
    kind         INTEGER NOT NULL,     -- messages.Kind
    sent_at      INTEGER NOT NULL,     -- the sender's clock
    body         BLOB NOT NULL,        -- the body as sent
    text         TEXT,                 -- of a person's message
    reply_to     BLOB,
    read         INTEGER NOT NULL DEFAULT 0,  -- read here (another's) ...
    stored_at    INTEGER,                     -- ... or when a relay stored it last (own), NULL: queued
    UNIQUE (conversation, device, counter)
);
CREATE INDEX message_page ON message (conversation, kind, number);
CREATE INDEX message_unread ON message (conversation, device, counter) WHERE read = 0 AND kind = 1;

-- What this device has of each other device's numbered messages.
CREATE TABLE stream (
    conversation BLOB NOT NULL,
    device       BLOB NOT NULL,
    decrypted    INTEGER NOT NULL DEFAULT 0,  -- all up to this counter are here
    highest      INTEGER NOT NULL DEFAULT 0,
    told_decrypted INTEGER NOT NULL DEFAULT 0,  -- last confirmed
    told_read    INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, device)
) WITHOUT ROWID;

-- Missing numbers, first to last, and when they were asked for.
CREATE TABLE gap (
    conversation BLOB NOT NULL,
    device       BLOB NOT NULL,
    first        INTEGER NOT NULL,
    last         INTEGER NOT NULL,  -- 0: open end (something was damaged, nobody knows how much)
    asked_at     INTEGER,
    asked        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, device, first)
) WITHOUT ROWID;

-- What each device said of each other device's messages, this one's included.
CREATE TABLE receipt (
    conversation BLOB NOT NULL,
    about        BLOB NOT NULL,  -- device whose messages
    device       BLOB NOT NULL,  -- device that confirms
    decrypted    INTEGER NOT NULL,
    read         INTEGER NOT NULL,
    PRIMARY KEY (conversation, about, device)
) WITHOUT ROWID;

-- Frames for relays, byte-identical at every try. Removed once stored (a commit: once it came back).
CREATE TABLE outbox (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    entry_id     BLOB NOT NULL UNIQUE,
    relay        TEXT NOT NULL,
    channel      BLOB NOT NULL,
    read_half    BLOB NOT NULL,     -- token or verifier, with which the channel is opened
    read_is_token INTEGER NOT NULL,
    write_token  BLOB NOT NULL,
    entry_class  INTEGER NOT NULL,
    is_commit    INTEGER NOT NULL DEFAULT 0,
    turn         INTEGER,
    burn_after   INTEGER,
    entry        BLOB NOT NULL,
    kind         INTEGER NOT NULL,  -- outbox.Kind
    owner        BLOB NOT NULL,     -- conversation, KeyPackageRef or invite
    message      BLOB,
    epoch        INTEGER NOT NULL DEFAULT 0,
    refused_turn INTEGER,           -- the relay's turn when it refused ours; wait until we have read up to it
    refusals     INTEGER NOT NULL DEFAULT 0,
    stored_seq   INTEGER            -- commits only: stored, not yet come back
);
CREATE INDEX outbox_owner ON outbox (owner);
CREATE INDEX outbox_message ON outbox (message) WHERE message IS NOT NULL;

-- What this device wants to commit; survives a lost race.
CREATE TABLE intent (
    conversation BLOB NOT NULL,
    kind         INTEGER NOT NULL,  -- intents.Kind
    not_before   INTEGER NOT NULL,
    digest       BLOB,              -- of the pending commit that carries it out
    PRIMARY KEY (conversation, kind)
) WITHOUT ROWID;

-- Own KeyPackages out in the world.
CREATE TABLE key_package (
    ref         BLOB PRIMARY KEY,
    key_package BLOB NOT NULL,
    expires_at  INTEGER NOT NULL,
    used        INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- Own invites.
CREATE TABLE invite (
    invite       BLOB PRIMARY KEY,   -- channel id
    link         TEXT NOT NULL,
    key_package  BLOB NOT NULL,      -- KeyPackageRef
    expires_at   INTEGER NOT NULL,
    conversation BLOB,               -- NULL: nobody came yet
    refused      INTEGER NOT NULL DEFAULT 0  -- takes that the relay refused because it was used
) WITHOUT ROWID;

-- Others' invites that were accepted here; survives a crash between taking and joining.
CREATE TABLE acceptance (
    channel      BLOB PRIMARY KEY,
    link         TEXT NOT NULL,
    take_id      BLOB NOT NULL,
    conversation BLOB,
    failure      TEXT
) WITHOUT ROWID;

-- Others' KeyPackages that travelled inside conversations.
CREATE TABLE contact_key_package (
    account     BLOB NOT NULL,
    ref         BLOB NOT NULL,
    key_package BLOB NOT NULL,
    expires_at  INTEGER NOT NULL,
    PRIMARY KEY (account, ref)
) WITHOUT ROWID;

-- Things a person should be told that are not messages.
CREATE TABLE notice (
    number       INTEGER PRIMARY KEY,
    conversation BLOB,
    at           INTEGER NOT NULL,
    event        BLOB NOT NULL  -- JSON of the event
);
