-- What a message can do (spec/03-messages.md, HT-C-100 …).

ALTER TABLE message ADD COLUMN fate INTEGER NOT NULL DEFAULT 0;     -- content.Fate of a text
ALTER TABLE message ADD COLUMN thread BLOB;                         -- the group in whose thread a whisper is shown
ALTER TABLE message ADD COLUMN leaving INTEGER NOT NULL DEFAULT 0;  -- own, hidden: its body goes when nobody needs it any more
CREATE INDEX message_thread ON message (thread, number) WHERE thread IS NOT NULL;
CREATE INDEX message_leaving ON message (conversation) WHERE leaving = 1;
CREATE INDEX message_confirmed ON message (conversation) WHERE fate = 2 AND kind = 1 AND recalled = 0;

-- Numbered messages about another message: edits, reactions, "opened". What they say stands in `content` under their number,
-- and nowhere else (HT-S-060).
CREATE TABLE action (
    number       INTEGER PRIMARY KEY,  -- message.number of the message that carries it
    target       BLOB NOT NULL,        -- id of the message it is about
    conversation BLOB NOT NULL,
    account      BLOB NOT NULL,        -- whose it is
    device       BLOB NOT NULL,
    kind         INTEGER NOT NULL,     -- rows.ActionKind
    step         INTEGER NOT NULL,     -- the highest counts, then the highest device
    waits        INTEGER NOT NULL DEFAULT 0  -- the message it is about is not here (yet)
);
CREATE INDEX action_target ON action (target);
CREATE INDEX action_waits ON action (conversation, device, number) WHERE waits = 1;

-- Recalls that came before their message, now in the order in which they came: the oldest of too many go.
ALTER TABLE recall RENAME TO recall_before;
CREATE TABLE recall (
    number       INTEGER PRIMARY KEY,
    message      BLOB NOT NULL,
    conversation BLOB NOT NULL,
    account      BLOB NOT NULL,
    UNIQUE (message, conversation, account)
);
INSERT INTO recall (message, conversation, account) SELECT message, conversation, account FROM recall_before;
DROP TABLE recall_before;
CREATE INDEX recall_waits ON recall (conversation, account, number);
