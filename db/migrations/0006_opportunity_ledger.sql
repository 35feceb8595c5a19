-- The opportunity ledger: every opening of a cycle as one row, every closed plan's profit taken apart, and the rates to tell it by.

-- One row for each opening, replaced while it lasts. By day of the first look, so that retention drops whole days (30 of them);
-- a row of a day that has no partition goes to the default one. Taken opportunities stay in `opportunities` for ever.
CREATE TABLE episodes (
    session         integer       NOT NULL REFERENCES sessions,
    first_seen_ns   bigint        NOT NULL,
    episode_id      text          NOT NULL,
    cycle           bigint        NOT NULL,
    name            text          NOT NULL,
    pair            text          NOT NULL, -- what it trades besides fiat and the reporting asset, joined by +
    reporting_asset text          NOT NULL,
    state           text          NOT NULL, -- open, gone, interrupted, stopped
    last_seen_ns    bigint        NOT NULL,
    noted_at_ns     bigint        NOT NULL,
    looks           bigint        NOT NULL,
    edge_ppm_peak   bigint        NOT NULL,
    net_peak_e8     numeric(38,0),          -- NULL: none was sized
    taken_count     bigint        NOT NULL,
    taken           json          NOT NULL, -- ids in `opportunities`, the newest few
    refusals        json          NOT NULL, -- looks by reason
    follow_ups      json          NOT NULL, -- what the first one, refused, would have paid later
    symbols         json          NOT NULL, -- venue and symbol by market number in first and peak
    first           json,                   -- the first sized opportunity, whole
    peak            json,                   -- the one of the highest net, whole
    PRIMARY KEY (session, first_seen_ns, episode_id)
) PARTITION BY RANGE (first_seen_ns);
CREATE TABLE episodes_other PARTITION OF episodes DEFAULT;
CREATE INDEX episodes_by_cycle ON episodes (session, cycle, first_seen_ns);
CREATE INDEX episodes_by_pair ON episodes (session, pair, first_seen_ns);
CREATE INDEX episodes_open ON episodes (session) WHERE state = 'open';

-- Since an opening is one row, an opportunity that was not taken is kept here as a sample only: of one cycle and one reason one
-- in 10 s. Before, each was kept.
ALTER TABLE opportunities
    ADD COLUMN pair        text          NOT NULL DEFAULT '', -- empty: kept before it was told
    ADD COLUMN venues      text          NOT NULL DEFAULT '', -- of its legs, joined by +
    ADD COLUMN symbols     json          NOT NULL DEFAULT '{}', -- venue and symbol by market number of legs and fx
    ADD COLUMN fx_depth_e8 numeric(38,0) NOT NULL DEFAULT 0,  -- the share of depth_e8 in fiat's own market
    ADD COLUMN fx_fees_e8  numeric(38,0) NOT NULL DEFAULT 0;  -- the same of fees_e8
CREATE INDEX opportunities_by_pair ON opportunities (session, pair, at_ns);
CREATE INDEX opportunities_taken ON opportunities (session, at_ns) WHERE plan_id IS NOT NULL;

-- From the edge at the top of the books to the realised profit, 1e-8 of the reporting asset; a cost is negative. What each step
-- is: arbitrage/model/waterfalls.py.
CREATE TABLE plan_waterfalls (
    session              integer       NOT NULL REFERENCES sessions,
    plan_id              text          NOT NULL,
    opportunity_id       text          NOT NULL,
    closed_at_ns         bigint        NOT NULL,
    reporting_asset      text          NOT NULL,
    top_of_book_e8       numeric(38,0) NOT NULL,
    depth_e8             numeric(38,0) NOT NULL,
    fees_e8              numeric(38,0) NOT NULL,
    fx_e8                numeric(38,0) NOT NULL,
    transfers_e8         numeric(38,0) NOT NULL,
    expected_e8          numeric(38,0) NOT NULL,
    transfers_unpaid_e8  numeric(38,0) NOT NULL,
    latency_drift_e8     numeric(38,0) NOT NULL,
    fx_drift_e8          numeric(38,0) NOT NULL,
    fee_changes_e8       numeric(38,0) NOT NULL,
    partial_fills_e8     numeric(38,0) NOT NULL,
    realised_e8          numeric(38,0) NOT NULL,
    PRIMARY KEY (session, plan_id),
    CHECK (top_of_book_e8 + depth_e8 + fees_e8 + fx_e8 + transfers_e8 = expected_e8),
    CHECK (expected_e8 + transfers_unpaid_e8 + latency_drift_e8 + fx_drift_e8 + fee_changes_e8 + partial_fills_e8 = realised_e8)
);
CREATE INDEX plan_waterfalls_by_time ON plan_waterfalls (session, closed_at_ns);

-- What one unit of the reporting asset was in a fiat when a plan opened, executable: sold for `sold_e8`, bought back for `bought_e8`.
CREATE TABLE plan_rates (
    session         integer       NOT NULL REFERENCES sessions,
    plan_id         text          NOT NULL,
    asset           text          NOT NULL,
    at_ns           bigint        NOT NULL,
    reporting_asset text          NOT NULL,
    sold_e8         numeric(38,0) NOT NULL,
    bought_e8       numeric(38,0) NOT NULL,
    age_ms          bigint        NOT NULL,
    PRIMARY KEY (session, plan_id, asset)
);
CREATE INDEX plan_rates_by_time ON plan_rates (session, asset, reporting_asset, at_ns);

CREATE INDEX plans_closed ON plans (session, closed_at_ns);
CREATE INDEX plans_by_opportunity ON plans (session, opportunity_id);

-- What was closed before: fiat's share is not told apart there.
INSERT INTO plan_waterfalls
SELECT p.session, p.plan_id, p.opportunity_id, p.closed_at_ns, p.reporting_asset,
    o.top_of_book_e8, -o.depth_e8, -o.fees_e8, 0, -o.transfers_e8, o.net_e8,
    (p.waterfall->>'transfers_e8')::numeric, (p.waterfall->>'prices_e8')::numeric, 0,
    (p.waterfall->>'fees_e8')::numeric, (p.waterfall->>'legs_e8')::numeric, p.realised_e8
FROM plans p JOIN opportunities o USING (session, opportunity_id)
WHERE p.waterfall IS NOT NULL AND p.closed_at_ns IS NOT NULL;
