-- Who may use the operator's surface. Nobody is ever deleted, so that a name in the audit log stays one person's.

CREATE TABLE users (
    name          text    PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9._-]{0,31}$'),
    role          text    NOT NULL CHECK (role IN ('viewer', 'analyst', 'operator', 'admin')),
    password_hash text    NOT NULL, -- argon2id with its parameters and salt
    is_disabled   boolean NOT NULL DEFAULT false,
    generation    bigint  NOT NULL, -- new with every change: what was signed in before it is signed out
    created_at_ns bigint  NOT NULL,
    changed_at_ns bigint  NOT NULL
);

CREATE TABLE api_keys (
    key_id          text   PRIMARY KEY CHECK (key_id ~ '^[0-9a-f]{16}$'),
    owner           text   NOT NULL REFERENCES users,
    label           text   NOT NULL,
    role            text   NOT NULL CHECK (role IN ('viewer', 'analyst', 'operator', 'admin')), -- the owner's bounds it
    scopes          text[] NOT NULL,
    addresses       text[] NOT NULL, -- networks that may use it; none: all that may use the surface
    secret_sha256   bytea  NOT NULL, -- of 256 random bits, so that a slow hash would add nothing
    created_at_ns   bigint NOT NULL,
    expires_at_ns   bigint NOT NULL,
    revoked_at_ns   bigint,
    last_used_at_ns bigint -- to the minute
);

-- Grows with every change of the two above; who keeps a picture of them reads them again when it does.
CREATE TABLE people_version (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    version bigint  NOT NULL
);
INSERT INTO people_version (version) VALUES (1);
