-- Recovery: coming back into a conversation that this device can no longer follow (spec/02-mls-profile.md, Coming back).

-- One row for each conversation whose first epoch was seen here.
CREATE TABLE resync (
    conversation  BLOB PRIMARY KEY,
    exported      BLOB NOT NULL,               -- exported in the first epoch, kept for life
    number        INTEGER NOT NULL DEFAULT 0,  -- of the last own statement
    last          BLOB,                        -- that statement, signed
    stated        INTEGER NOT NULL DEFAULT 0,  -- statements made because something was in doubt, since it was last quiet
    stated_at     INTEGER NOT NULL DEFAULT 0,
    doubted_at    INTEGER,                     -- when this device says where it stands, NULL: nothing is in doubt
    unreadable    INTEGER NOT NULL DEFAULT 0,  -- members' entries that did not decrypt since something did
    key_package   BLOB,                        -- KeyPackageRef of the open request
    request       INTEGER NOT NULL DEFAULT 0,  -- its number
    asked         INTEGER NOT NULL DEFAULT 0,  -- requests since the conversation was last quiet
    asked_at      INTEGER NOT NULL DEFAULT 0,
    ask_at        INTEGER,                     -- when the next request may go out, NULL: none is wanted
    back          BLOB                         -- authenticator of the epoch in which this device came back
) WITHOUT ROWID;

-- The last statement of each other device.
CREATE TABLE statement (
    conversation BLOB NOT NULL,
    device       BLOB NOT NULL,
    number       INTEGER NOT NULL,
    body         BLOB NOT NULL,               -- verified
    came_at      INTEGER NOT NULL,
    due_at       INTEGER,                     -- when it is to be judged, NULL: it was
    answered     INTEGER NOT NULL DEFAULT 0,  -- requests of this device that were carried out, in the day that began ...
    answered_at  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation, device)
) WITHOUT ROWID;

-- A request that this device carries out: the intent's KeyPackage, and the Welcome until the commit has come back.
CREATE TABLE readmission (
    conversation BLOB PRIMARY KEY,
    device       BLOB NOT NULL,
    key_package  BLOB NOT NULL,
    welcome      BLOB
) WITHOUT ROWID;

-- Ciphertexts of the current epoch that decrypted (first 16 bytes of SHA-256): another one for the same generation is an alarm.
CREATE TABLE ciphertext (
    conversation BLOB NOT NULL,
    digest       BLOB NOT NULL,
    PRIMARY KEY (conversation, digest)
) WITHOUT ROWID;
