-- Sessions and what a stop leaves behind. Amounts in 1e-8 of an asset are numeric(38,0): 1e11 won are 1e19 of them, past bigint.
-- Times are nanoseconds since 1970 in the daemon's own clock.

CREATE TABLE sessions (
    session         integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    env             text    NOT NULL,
    session_id      text    NOT NULL,
    first_start_ns  bigint  NOT NULL,
    last_start_ns   bigint  NOT NULL,
    starts          integer NOT NULL CHECK (starts >= 1),
    UNIQUE (env, session_id)
);

-- Retention: the newest 200 of a session.
CREATE TABLE session_snapshots (
    session          integer NOT NULL REFERENCES sessions,
    journal_sequence bigint  NOT NULL,
    at_ns            bigint  NOT NULL,
    version          integer NOT NULL,
    sha256           text    NOT NULL,
    body             text    NOT NULL, -- the very bytes that were hashed
    PRIMARY KEY (session, journal_sequence, at_ns)
);

-- Retention: 90 days.
CREATE TABLE position_snapshots (
    session          integer       NOT NULL REFERENCES sessions,
    at_ns            bigint        NOT NULL,
    journal_sequence bigint        NOT NULL,
    venue            text          NOT NULL,
    asset            text          NOT NULL,
    free_e8          numeric(38,0) NOT NULL,
    reserved_e8      numeric(38,0) NOT NULL,
    PRIMARY KEY (session, at_ns, venue, asset)
);

-- Retention: 30 days.
CREATE TABLE metrics_snapshots (
    session integer NOT NULL REFERENCES sessions,
    at_ns   bigint  NOT NULL,
    metrics json    NOT NULL,
    PRIMARY KEY (session, at_ns)
);

-- Retention: 90 days.
CREATE TABLE risk_guard_snapshots (
    session          integer NOT NULL REFERENCES sessions,
    at_ns            bigint  NOT NULL,
    journal_sequence bigint  NOT NULL,
    state            json    NOT NULL,
    PRIMARY KEY (session, at_ns)
);

CREATE TABLE configuration_versions (
    session integer NOT NULL REFERENCES sessions,
    version text    NOT NULL,
    at_ns   bigint  NOT NULL,
    actor   text    NOT NULL,
    body    json    NOT NULL,
    PRIMARY KEY (session, version, at_ns)
);
