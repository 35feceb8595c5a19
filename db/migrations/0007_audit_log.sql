-- Who changed what, from where, with before and after. Append-only: the database itself refuses to change or remove a line, and each
-- line's hash covers the line before it, so that one that is changed, missing or put between is found (`arbitrage audit verify`).

CREATE TABLE audit_log (
    number     bigint      PRIMARY KEY CHECK (number >= 1), -- without a gap
    key        text        NOT NULL UNIQUE, -- made where the line was written first; makes a repeated write harmless
    at_ns      bigint      NOT NULL, -- the wall clock
    env        text        NOT NULL,
    session_id text        NOT NULL,
    actor      text        NOT NULL,
    address    text        NOT NULL,
    action     text        NOT NULL,
    subject    text        NOT NULL,
    status     integer     NOT NULL,
    reason     text        NOT NULL,
    before     text        NOT NULL, -- JSON, the very characters that were hashed
    after      text        NOT NULL,
    hash       text        NOT NULL, -- SHA-256 in hex
    written_at timestamptz NOT NULL DEFAULT clock_timestamp() -- the server's clock; not in the hash
);
CREATE INDEX audit_log_by_time ON audit_log (at_ns);
CREATE INDEX audit_log_by_actor ON audit_log (actor, number);

CREATE FUNCTION audit_log_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_log_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_stays();
