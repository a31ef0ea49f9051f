-- Groups (spec/02-mls-profile.md, Groups).

-- What this device wants changed in a group, in order. The commit that carries it out folds all of them; it survives a lost race.
CREATE TABLE change (
    number       INTEGER PRIMARY KEY,
    conversation BLOB NOT NULL,
    kind         INTEGER NOT NULL,  -- ChangeKind
    account      BLOB,              -- whom it is about
    value        BLOB,              -- new name (UTF-8), new rights (one byte)
    digest       BLOB               -- of the pending commit that carries it out
);
CREATE INDEX change_conversation ON change (conversation);

-- KeyPackages in the pending commit, and its Welcome, until it comes back.
CREATE TABLE adding (
    conversation BLOB NOT NULL,
    ref          BLOB NOT NULL,
    account      BLOB NOT NULL,
    key_package  BLOB NOT NULL,
    PRIMARY KEY (conversation, ref)
) WITHOUT ROWID;
CREATE TABLE pending_welcome (
    conversation BLOB PRIMARY KEY,
    welcome      BLOB NOT NULL
) WITHOUT ROWID;

-- Groups joined by a Welcome in which nothing of another member has decrypted yet: the KeyPackage is still good for another Welcome.
CREATE TABLE joining (
    conversation BLOB NOT NULL,
    ref          BLOB NOT NULL,
    PRIMARY KEY (conversation, ref)
) WITHOUT ROWID;

-- Own number when the current era began: who joined with it asks for nothing before.
ALTER TABLE conversation ADD COLUMN base INTEGER NOT NULL DEFAULT 0;

-- In which conversation an own KeyPackage was given away, and for which suite.
ALTER TABLE key_package ADD COLUMN given BLOB;
ALTER TABLE key_package ADD COLUMN suite INTEGER NOT NULL DEFAULT 78;

-- Whose devices' KeyPackages these are. What was kept before is forgotten: Hellos bring new ones.
DROP TABLE contact_key_package;
CREATE TABLE contact_key_package (
    account     BLOB NOT NULL,
    ref         BLOB NOT NULL,
    key_package BLOB NOT NULL,
    expires_at  INTEGER NOT NULL,
    device      BLOB NOT NULL,
    suite       INTEGER NOT NULL,
    PRIMARY KEY (account, ref)
) WITHOUT ROWID;
