-- What format 2 has more than schema.sql, which is format 1. @ is the schema.

ALTER TABLE @batches ADD COLUMN loaded_at timestamptz; -- as in the header
ALTER TABLE @payouts ADD COLUMN exception smallint NOT NULL DEFAULT 0; -- 1: a person must look, 2: one has looked
ALTER TABLE @meta ADD COLUMN keep_for bigint NOT NULL DEFAULT 0; -- the longest for which a load kept accounts, in nanoseconds
ALTER TABLE @counts ADD COLUMN code text COLLATE "C" NOT NULL DEFAULT ''; -- of what is settled and was not paid
ALTER TABLE @counts DROP CONSTRAINT counts_pkey, ADD PRIMARY KEY (batch, state, currency, code, slot);
CREATE INDEX payouts_exceptions ON @payouts (number) WHERE exception <> 0;

-- The audit log: each hash is over the one before it and the entry.
CREATE TABLE @audit (
	seq   bigint PRIMARY KEY,
	hash  bytea NOT NULL,
	entry text NOT NULL -- JSON, byte for byte
);

-- By which accounts late payouts are known again, as keyed digests.
CREATE TABLE @sightings (
	batch   bigint NOT NULL,
	account bytea NOT NULL,
	payout  bigint NOT NULL,
	PRIMARY KEY (batch, account, payout)
);

-- The accounts that customers' payouts went to, both as keyed digests.
CREATE TABLE @customers (
	id       bytea PRIMARY KEY,
	accounts bytea NOT NULL -- with a checksum
) WITH (fillfactor = 80);

-- The last numbers of series of files.
CREATE TABLE @series (
	name text COLLATE "C" PRIMARY KEY,
	last bigint NOT NULL
);

-- Approvals that came after the load of their batch.
CREATE TABLE @approvals (
	batch    bigint NOT NULL,
	seq      bigint NOT NULL,
	approval bytea NOT NULL, -- JSON with a checksum
	PRIMARY KEY (batch, seq)
);

-- What passed for a batch within a minute (from the epoch), and over all, in slots as the
-- counts: numbers are those of store.Flow and store.Totals.
CREATE TABLE @minutes (
	batch   bigint NOT NULL,
	minute  bigint NOT NULL,
	slot    smallint NOT NULL,
	numbers bigint[] NOT NULL,
	PRIMARY KEY (batch, minute, slot)
) WITH (fillfactor = 50);
CREATE TABLE @totals (
	slot    smallint PRIMARY KEY,
	numbers bigint[] NOT NULL
) WITH (fillfactor = 50);
