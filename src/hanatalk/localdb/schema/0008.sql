-- A long queue costs no look through all of it: what is asked at every send, entry and answer has an index.

CREATE INDEX outbox_relay ON outbox (relay, kind);
CREATE INDEX outbox_order ON outbox (relay, number) WHERE stored_seq IS NULL;
CREATE INDEX outbox_entry ON outbox (channel, substr(entry, 1, 12));  -- the nonce, random: who sent this entry?
CREATE INDEX outbox_refused ON outbox (owner) WHERE refused_turn IS NOT NULL;
CREATE INDEX outbox_stored ON outbox (channel) WHERE stored_seq IS NOT NULL;
CREATE INDEX message_held ON message (conversation, counter) WHERE counter < 0;
