-- Introductions (spec/03-messages.md, HT-C-125 …): those that this device made, a row for either side, and those that it was told of.
CREATE TABLE introduction (
    number       INTEGER PRIMARY KEY,
    introduction BLOB NOT NULL,
    conversation BLOB NOT NULL,     -- in which it runs
    account      BLOB NOT NULL,     -- whom the one in that conversation, or I, may come to know
    made         INTEGER NOT NULL,  -- by this device
    state        INTEGER NOT NULL,  -- rows.IntroductionState
    name         TEXT NOT NULL,     -- as the introducer calls it
    chain        BLOB NOT NULL,     -- MessagePack list of serialised links
    ref          BLOB,              -- of the own KeyPackage that was given for it
    key_package  BLOB,              -- the other one's
    UNIQUE (introduction, conversation)
);
CREATE INDEX introduction_ref ON introduction (ref) WHERE ref IS NOT NULL;
