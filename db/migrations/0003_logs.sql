-- Log lines of WARNING and above. Retention: 30 days.

CREATE TABLE system_logs (
    session integer NOT NULL REFERENCES sessions,
    at_ns   bigint  NOT NULL,
    number  bigint  NOT NULL, -- counts the lines of one process; makes a repeated write harmless
    level   text    NOT NULL,
    code    text    NOT NULL,
    text    text    NOT NULL,
    fields  json    NOT NULL,
    PRIMARY KEY (session, at_ns, number)
);
CREATE INDEX system_logs_by_level ON system_logs (session, level, at_ns);
CREATE INDEX system_logs_by_code ON system_logs (session, code, at_ns);
