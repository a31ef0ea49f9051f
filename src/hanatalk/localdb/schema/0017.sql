-- Invites into a group: whoever comes by the link is added to it, once (HT-M-093).
ALTER TABLE invite ADD COLUMN leads_to BLOB;  -- the group; NULL: none, or it was seen to
