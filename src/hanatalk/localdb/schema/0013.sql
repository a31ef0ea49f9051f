-- Who does not say what they have read (spec/03-messages.md, HT-C-085).

-- Other accounts, as they announced it in a conversation.
CREATE TABLE silent (
    conversation BLOB NOT NULL,
    account      BLOB NOT NULL,
    PRIMARY KEY (conversation, account)
) WITHOUT ROWID;

-- This account in this conversation.
ALTER TABLE conversation ADD COLUMN silent INTEGER NOT NULL DEFAULT 0;
