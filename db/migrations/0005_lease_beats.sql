-- That the holder of a lease still lives, in a table of its own: the writer locks the row in `leases` while it writes.
-- Told by a number that is new with every beat, not by clocks: whoever wants the lease watches that `beats` stands still (`store/lease.py`).

CREATE TABLE lease_beats (
    env        text        NOT NULL,
    session_id text        NOT NULL,
    epoch      bigint      NOT NULL,
    beats      bigint      NOT NULL,
    lasts_ms   integer     NOT NULL CHECK (lasts_ms >= 0), -- without another beat; 0: given back
    keeper     text        NOT NULL, -- machine, boot and data folder of the holder
    beaten_at  timestamptz NOT NULL, -- the server's clock; only ever refuses, never gives
    PRIMARY KEY (env, session_id)
);
