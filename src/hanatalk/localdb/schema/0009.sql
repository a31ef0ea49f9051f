-- The index of search (docs/adr/0017, HT-S-090 … HT-S-093). `seal` has a key for each segment; without it the segment's rows say
-- nothing, nor do copies of them.

-- 256 message numbers each (number / 256). One that is not here is not indexed: its texts are looked through one by one.
CREATE TABLE segment (
    segment INTEGER PRIMARY KEY,
    slot    INTEGER NOT NULL  -- of its key in `seal`
);

-- Which messages of a segment may have which pieces of text, 16 rows per segment.
CREATE TABLE gram (
    place INTEGER PRIMARY KEY,  -- segment * 16 + bucket
    value BLOB NOT NULL         -- sealed (client/engine/formats/grams.py)
);
