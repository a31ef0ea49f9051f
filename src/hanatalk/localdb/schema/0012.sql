-- Devices that come late (spec/02-mls-profile.md, Devices).

-- KeyPackages that a new device of the own account left for its siblings, one for each conversation, and the Welcome of the
-- pending commit that adds it.
CREATE TABLE addition (
    conversation BLOB NOT NULL,
    device       BLOB NOT NULL,
    key_package  BLOB NOT NULL,
    welcome      BLOB,
    PRIMARY KEY (conversation, device)
) WITHOUT ROWID;

-- Where this device began to count another's messages, and up to where its person had read them then (another own device did).
ALTER TABLE stream ADD COLUMN base INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stream ADD COLUMN base_read INTEGER NOT NULL DEFAULT 0;
