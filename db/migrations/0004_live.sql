-- Who may trade for a session, and what starts and kills found out. Reports and receipts are facts of the journal too.

CREATE TABLE leases (
    env         text   NOT NULL,
    session_id  text   NOT NULL,
    epoch       bigint NOT NULL CHECK (epoch >= 1), -- number of the start; part of every order id of that start
    holder      text   NOT NULL,
    taken_at_ns bigint NOT NULL,
    PRIMARY KEY (env, session_id)
);

-- The executable rate of every fiat on the way: market, bid and ask with what stood there, and their age.
ALTER TABLE opportunities ADD COLUMN fx json NOT NULL DEFAULT '[]';

-- From expected to realised profit, step by step (NULL: open, or closed before there was one).
ALTER TABLE plans ADD COLUMN waterfall json;

-- The fee in the reporting asset, by the executable books of that moment (NULL: they gave no rate).
ALTER TABLE fills ADD COLUMN fee_value_e8 numeric(38,0);

-- Kept for ever: what was left, what the venues said, what differed, what was adopted, cancelled and booked.
CREATE TABLE restart_reports (
    session  integer NOT NULL REFERENCES sessions,
    sequence bigint  NOT NULL, -- of the fact
    at_ns    bigint  NOT NULL,
    occasion text    NOT NULL,
    is_armed boolean NOT NULL,
    body     json    NOT NULL,
    PRIMARY KEY (session, sequence)
);

-- Kept for ever: each venue's word that nothing of ours was open any more after a kill.
CREATE TABLE kill_receipts (
    session      integer NOT NULL REFERENCES sessions,
    sequence     bigint  NOT NULL, -- of the fact
    killed_at_ns bigint  NOT NULL,
    proven_at_ns bigint  NOT NULL,
    actor        text    NOT NULL,
    reason       text    NOT NULL,
    body         json    NOT NULL,
    PRIMARY KEY (session, sequence)
);
