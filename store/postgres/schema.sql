-- The tables of masspay, in a schema of their own. @ is that schema.
-- What is written here is format 1; see schema.go for how a later one comes to be.

CREATE TABLE @meta (
	one          boolean PRIMARY KEY DEFAULT true CHECK (one),
	format       integer NOT NULL,
	readable_by  integer NOT NULL,
	key_check    bytea NOT NULL,           -- tells whether a key is this store's
	settings     bytea,                     -- JSON with a checksum; null: none yet
	next_number  bigint NOT NULL DEFAULT 1, -- of the next payout
	next_batch   bigint NOT NULL DEFAULT 1,
	generation   bigint NOT NULL DEFAULT 0, -- rises with every claim
	claimed_at   timestamptz,               -- when it last rose so
	epoch        bigint NOT NULL DEFAULT 0, -- of the restore that is not yet trusted; 0: none
	copied_at    timestamptz,               -- with epoch: the last claim that the copy knew of
	system       text NOT NULL DEFAULT '',  -- which database last claimed; see restored.go
	timeline     bigint NOT NULL DEFAULT 0,
	database     bigint NOT NULL DEFAULT 0
);

-- The clock that quiet periods are measured by; see clock.go.
CREATE TABLE @clock (
	one     boolean PRIMARY KEY DEFAULT true CHECK (one),
	boot    bigint NOT NULL,              -- names this clock
	at      bigint NOT NULL DEFAULT 0,    -- nanoseconds
	keeper  bigint NOT NULL DEFAULT 0,    -- who adds to it
	version bigint NOT NULL DEFAULT 0     -- rises with every addition
);

-- Processes that have ever claimed, or kept the clock; see owner.go.
CREATE TABLE @owners (
	id        bigint PRIMARY KEY,
	host      text NOT NULL,
	boot      text NOT NULL,   -- of its machine
	space     text NOT NULL,   -- its space of process numbers
	pid       bigint NOT NULL,
	started   bigint NOT NULL, -- of the process, as the kernel counts
	version   text NOT NULL,
	beats     bigint NOT NULL DEFAULT 0,
	claims    bigint NOT NULL DEFAULT 0, -- how many it has made
	since     timestamptz NOT NULL DEFAULT now(),
	seen_at   timestamptz NOT NULL DEFAULT now(), -- for people only
	fenced_at timestamptz,
	closed_at timestamptz
) WITH (fillfactor = 50);

-- What each claim took, for those who find its owner dead, or its commit unsure.
CREATE TABLE @claims (
	owner   bigint NOT NULL,
	n       bigint NOT NULL,
	payouts bigint[] NOT NULL,
	PRIMARY KEY (owner, n)
);

CREATE TABLE @batches (
	number bigint PRIMARY KEY,
	id     bytea NOT NULL UNIQUE, -- SHA-256 of the file
	header bytea NOT NULL,        -- JSON with a checksum
	rows   bigint NOT NULL,
	cursor bigint NOT NULL DEFAULT 0, -- rows before it have been claimed, or were not claimable
	hold   bytea                      -- JSON; null: it may be claimed
) WITH (fillfactor = 50);

-- How many payouts of a batch are in each state, in slots, so that processes do not wait
-- for one row; a count is the sum of its slots.
CREATE TABLE @counts (
	batch      bigint NOT NULL,
	state      smallint NOT NULL,
	currency   text COLLATE "C" NOT NULL,
	slot       smallint NOT NULL,
	n          bigint NOT NULL,
	minor      bigint NOT NULL,
	checks     bigint NOT NULL,
	aside      bigint NOT NULL, -- minor units of what is to be checked
	stuck      bigint NOT NULL,
	changed_at timestamptz,
	PRIMARY KEY (batch, state, currency, slot)
) WITH (fillfactor = 50);

-- What never changes comes first. record is the authority, in the codec of every store,
-- with a checksum; the columns are for indexes and for people, and are held against it.
CREATE TABLE @payouts (
	number      bigint PRIMARY KEY,
	project     bigint NOT NULL,
	payment_id  text COLLATE "C" NOT NULL,
	method      text COLLATE "C" NOT NULL,
	minor       bigint NOT NULL,
	currency    text COLLATE "C" NOT NULL,
	destination text NOT NULL,           -- masked
	state       text COLLATE "C" NOT NULL,
	needs_check boolean NOT NULL,
	attempts    integer NOT NULL,
	status      text NOT NULL,           -- what the gate said last
	code        text NOT NULL,
	final_at    timestamptz,
	owner       bigint NOT NULL,         -- which process sends it; 0: none
	poll_at     timestamptz,
	record      bytea NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX payouts_due ON @payouts (poll_at, number) WHERE poll_at IS NOT NULL;

CREATE TABLE @ids (
	id     uuid PRIMARY KEY, -- keyed digest
	payout bigint NOT NULL
);

CREATE TABLE @lines (
	batch  bigint NOT NULL,
	idx    bigint NOT NULL, -- of the row in its batch, from 0
	payout bigint NOT NULL, -- 0: skipped
	line   bigint NOT NULL, -- physical line in the file
	skip   text NOT NULL,
	sealed bytea NOT NULL,
	PRIMARY KEY (batch, idx)
);

-- Rows whose payouts became New again.
CREATE TABLE @freed (
	batch bigint NOT NULL,
	idx   bigint NOT NULL,
	PRIMARY KEY (batch, idx)
);

-- What follows a first id in those of its retries.
CREATE TABLE @families (
	id      uuid PRIMARY KEY, -- keyed digest of the first id
	endings bytea NOT NULL
);

-- Reports about ids that no file has brought yet.
CREATE TABLE @early (
	id    uuid NOT NULL,
	seq   integer NOT NULL,
	at    timestamptz NOT NULL,
	event bytea NOT NULL,
	PRIMARY KEY (id, seq)
);

-- How many open payouts each gate may have, in slots.
CREATE TABLE @gates_open (
	gate text COLLATE "C" NOT NULL,
	slot smallint NOT NULL,
	n    bigint NOT NULL,
	PRIMARY KEY (gate, slot)
) WITH (fillfactor = 50);

-- Gates that have once answered as only a gate does.
CREATE TABLE @gates (
	gate text COLLATE "C" PRIMARY KEY,
	at   timestamptz NOT NULL
);

-- Who has a request under way to a gate that is not proven.
CREATE TABLE @probe (
	one   boolean PRIMARY KEY DEFAULT true CHECK (one),
	owner bigint NOT NULL DEFAULT 0,
	token bigint NOT NULL DEFAULT 0 -- 0: free
);

CREATE TABLE @runs (
	number bigint PRIMARY KEY,
	run    bytea NOT NULL -- JSON with a checksum
);

-- The slots of the rate. A crash may forget them.
CREATE UNLOGGED TABLE @rate (
	one   boolean PRIMARY KEY DEFAULT true CHECK (one),
	next  bigint NOT NULL, -- nanoseconds since 1970, by the server's clock
	pause bigint NOT NULL
) WITH (fillfactor = 10);
