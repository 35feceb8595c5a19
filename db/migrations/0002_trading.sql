-- The journal's facts and what they say, one transaction for both. Never deleted, except opportunities.

CREATE TABLE journal_facts (
    session  integer NOT NULL REFERENCES sessions,
    sequence bigint  NOT NULL,
    at_ns    bigint  NOT NULL,
    kind     text    NOT NULL,
    body     json    NOT NULL,
    PRIMARY KEY (session, sequence)
);
CREATE INDEX journal_facts_by_kind ON journal_facts (session, kind, sequence);

-- Retention: 30 days for those not taken.
CREATE TABLE opportunities (
    session         integer       NOT NULL REFERENCES sessions,
    opportunity_id  text          NOT NULL,
    at_ns           bigint        NOT NULL,
    cycle           bigint        NOT NULL,
    name            text          NOT NULL,
    start_venue     text          NOT NULL,
    start_asset     text          NOT NULL,
    amount_in_e8    numeric(38,0) NOT NULL,
    amount_out_e8   numeric(38,0) NOT NULL,
    reporting_asset text          NOT NULL,
    notional_e8     numeric(38,0) NOT NULL,
    edge_ppm        bigint        NOT NULL,
    top_of_book_e8  numeric(38,0) NOT NULL,
    depth_e8        numeric(38,0) NOT NULL,
    fees_e8         numeric(38,0) NOT NULL,
    transfers_e8    numeric(38,0) NOT NULL,
    net_e8          numeric(38,0) NOT NULL,
    age_ms_max      bigint        NOT NULL,
    legs            json          NOT NULL,
    transfers       json          NOT NULL,
    refusal         text,                   -- NULL: approved
    detail          text          NOT NULL,
    plan_id         text,                   -- set when it became orders
    PRIMARY KEY (session, opportunity_id),
    CHECK (top_of_book_e8 - depth_e8 - fees_e8 - transfers_e8 = net_e8)
);
CREATE INDEX opportunities_by_time ON opportunities (session, at_ns);
CREATE INDEX opportunities_by_refusal ON opportunities (session, refusal, at_ns);

CREATE TABLE plans (
    session         integer       NOT NULL REFERENCES sessions,
    plan_id         text          NOT NULL,
    opportunity_id  text          NOT NULL,
    sequence        bigint        NOT NULL,
    opened_at_ns    bigint        NOT NULL,
    deadline_ns     bigint        NOT NULL,
    state           text          NOT NULL,
    reporting_asset text          NOT NULL,
    expected_e8     numeric(38,0) NOT NULL,
    realised_e8     numeric(38,0),
    residuals       json,
    closed_at_ns    bigint,
    PRIMARY KEY (session, plan_id)
);
CREATE INDEX plans_by_time ON plans (session, opened_at_ns);
CREATE INDEX plans_open ON plans (session) WHERE closed_at_ns IS NULL;

CREATE TABLE leg_decisions (
    session      integer NOT NULL REFERENCES sessions,
    sequence     bigint  NOT NULL,
    plan_id      text    NOT NULL,
    at_ns        bigint  NOT NULL,
    choice       text    NOT NULL,
    alternatives json    NOT NULL,
    PRIMARY KEY (session, sequence)
);
CREATE INDEX leg_decisions_by_plan ON leg_decisions (session, plan_id);

CREATE TABLE orders (
    session            integer       NOT NULL REFERENCES sessions,
    client_order_id    text          NOT NULL,
    sequence           bigint        NOT NULL,
    plan_id            text          NOT NULL,
    leg_index          integer       NOT NULL,
    venue              text          NOT NULL,
    market             integer       NOT NULL,
    symbol             text          NOT NULL, -- what `market` meant when it was written; market numbers follow the configuration
    side               text          NOT NULL,
    price_e8           numeric(38,0) NOT NULL,
    quantity_e8        numeric(38,0) NOT NULL,
    time_in_force      text          NOT NULL,
    intended_at_ns     bigint        NOT NULL,
    state              text          NOT NULL,
    filled_quantity_e8 numeric(38,0) NOT NULL DEFAULT 0,
    reason             text          NOT NULL DEFAULT '',
    changed_at_ns      bigint        NOT NULL,
    PRIMARY KEY (session, client_order_id)
);
CREATE INDEX orders_by_plan ON orders (session, plan_id);
CREATE INDEX orders_by_time ON orders (session, intended_at_ns);
CREATE INDEX orders_working ON orders (session) WHERE state IN ('intended', 'open', 'unknown');

CREATE TABLE fills (
    session         integer       NOT NULL REFERENCES sessions,
    sequence        bigint        NOT NULL,
    at_ns           bigint        NOT NULL,
    venue           text          NOT NULL,
    market          integer       NOT NULL,
    symbol          text          NOT NULL,
    client_order_id text          NOT NULL,
    trade_id        text          NOT NULL,
    side            text          NOT NULL,
    price_e8        numeric(38,0) NOT NULL,
    quantity_e8     numeric(38,0) NOT NULL,
    quote_e8        numeric(38,0) NOT NULL,
    fee_e8          numeric(38,0) NOT NULL,
    fee_asset       text          NOT NULL,
    is_maker        boolean       NOT NULL,
    PRIMARY KEY (session, sequence)
);
CREATE INDEX fills_by_order ON fills (session, client_order_id);
CREATE INDEX fills_by_trade ON fills (session, venue, symbol, trade_id);
CREATE INDEX fills_by_time ON fills (session, at_ns);

CREATE TABLE ledger_entries (
    session   integer       NOT NULL REFERENCES sessions,
    sequence  bigint        NOT NULL, -- of the fact that caused it
    line      integer       NOT NULL,
    at_ns     bigint        NOT NULL,
    account   text          NOT NULL,
    venue     text          NOT NULL,
    asset     text          NOT NULL,
    amount_e8 numeric(38,0) NOT NULL,
    PRIMARY KEY (session, sequence, line)
);
CREATE INDEX ledger_entries_by_account ON ledger_entries (session, account, venue, asset, sequence);
