-- Tasks, their order, their logs and their bodies.
--
-- Rows are narrow where they are written often: a state change rewrites a task's row, never a body.
-- What orders tasks is in partial indexes, so that a claim meets only tasks that may start.

create table tenant (
  id integer primary key,
  name text not null unique
) strict;

create table queue (
  id integer primary key,
  tenant_id integer not null,
  name text not null,
  purpose integer not null,          -- of its tasks: 0 client, 1 internal
  is_paused integer not null,
  is_strict integer not null,        -- the order of the last claim; says how `task.place` is set
  policy blob,
  vtime integer not null,
  bucket blob,
  queued integer not null,
  running integer not null,
  waiting integer not null,
  succeeded integer not null,
  failed integer not null,
  canceled integer not null,
  ready integer not null,            -- queued, and not scheduled for later
  leases integer not null,
  started integer not null,          -- tasks that have started and are not terminal
  unique (tenant_id, name, purpose)
) strict;

-- The tasks of one queue that are run by the same.
create table pool (
  id integer primary key,
  queue_id integer not null,
  kind integer not null,             -- 0 upstream, 1 workers, 2 inline, 3 delivery
  origin text not null,
  has_ready integer not null,        -- 1 if any of its tasks is ready: the number is in its lanes
  next_at integer,                   -- the first moment of its scheduled tasks
  unique (queue_id, kind, origin)
) strict;
create index pool_next on pool (next_at) where next_at is not null;

-- The tasks of one lane within one pool. A lane with tasks in several pools has several rows, in all of
-- which `vtime` and `leases` are those of the whole lane.
create table lane (
  id integer primary key,
  queue_id integer not null,
  key text not null,                 -- '' for tasks without a lane
  pool_id integer not null,
  vtime integer not null,
  leases integer not null,
  tasks integer not null,
  ready integer not null,
  holder integer,                    -- strict order: the first of its tasks that has started
  turn integer,                      -- null while none of its tasks is next
  rank integer,
  first integer,                     -- the task that is next
  full_at integer,                   -- microseconds: when the bucket of its rate is full; null if it is
  free_at integer,                   -- when its rate lets it start again; null if it may
  unique (queue_id, key, pool_id)
) strict;
create index lane_turn on lane (pool_id, turn, rank, first) where turn is not null;
-- A lane that has started as many tasks as its rate allows has no turn, so that no claim meets it.
create index lane_free on lane (pool_id, free_at) where free_at is not null and ready > 0;
create index lane_idle on lane (queue_id, vtime) where tasks = 0;

-- How many tasks that are not terminal a source has in a queue; a source without any has no row.
create table source (
  queue_id integer not null,
  source blob not null,
  live integer not null,
  primary key (queue_id, source)
) strict, without rowid;

create table task (
  n integer primary key,             -- order of arrival
  id blob not null,
  pool_id integer not null,
  lane_id integer not null,
  status integer not null,
  phase integer not null,            -- of queued tasks: 1 ready, 2 scheduled, 3 past its deadline; else 0
  place integer,                     -- of queued tasks: their order within the lane
  due_at integer not null,
  last_pos integer not null,
  sched_at integer,                  -- of scheduled tasks
  apart integer,                     -- the status of tasks that are neither queued nor run
  holds integer,                     -- 1 if it has started in strict order and is not terminal
  node integer,                      -- the node of Relais that holds its lease; null if a worker does
  key_scope blob,
  spec blob not null,
  life blob not null
) strict;
-- A change costs what its columns are indexed by: most change only the place and the next alarm.
create unique index task_id on task (id);
create index task_place on task (lane_id, phase, place) where place is not null;
create index task_due on task (status, due_at);
create index task_scheduled on task (pool_id, sched_at) where sched_at is not null;
create index task_apart on task (pool_id, apart, id) where apart is not null;
create index task_holder on task (lane_id) where holds is not null;
create index task_node on task (node, id) where node is not null;

-- The log. The events of one task are chained backwards: the index that would find them costs more than
-- all that is ever read through it. A log is entered from its end: leaps of 64 numbers make any part of
-- it cost the same. A failed attempt has all of its failure, as its task does.
create table event (
  pos integer primary key,
  n integer not null,
  seq integer not null,
  prev integer not null,             -- 0 for the first
  leap integer not null,             -- the last before it whose number 64 divides; 0 up to the 64th
  data blob not null
) strict;

create table body (
  key integer primary key,           -- n * 8 + kind
  len integer not null,
  crc integer not null,
  file text,
  head blob not null,
  data blob
) strict;
create unique index body_file on body (file) where file is not null;
-- Which keys sealed what tasks hold, without a walk over all bodies: a sealed body (kind 3) begins with
-- the id of its key, in four bytes.
create index body_sealed on body (substr(data, 1, 4)) where key % 8 = 3;

-- Tasks that have an early result (a body of kind 4): what is stored under live leases is bounded.
create table early (
  n integer primary key,
  tenant_id integer not null
) strict;
create index early_tenant on early (tenant_id);

-- Which nodes have connections that attend a task, and which tasks nobody attends any more: their grace
-- runs. Only of tasks that are canceled when all have left.
create table attended (
  node integer not null,
  id blob not null,
  primary key (node, id)
) strict, without rowid;
create table countdown (
  id blob primary key
) strict, without rowid;

create table label (
  tenant_id integer not null,
  key text not null,
  value text not null,
  id blob not null,
  primary key (tenant_id, key, value, id)
) strict, without rowid;

-- Idempotency keys; `gone_at` is when a key may go whose task is erased, or that ends by itself.
create table idem (
  scope blob primary key,
  fingerprint blob not null,
  id blob not null,
  keep_until integer not null,
  gone_at integer
) strict, without rowid;
create index idem_gone on idem (gone_at) where gone_at is not null;

create table secret (
  name text primary key,
  value blob not null
) strict, without rowid;

-- Sessions of browsers; `mac` is an HMAC of the id, which is kept nowhere.
create table session (
  mac blob not null,
  begun_by blob not null,            -- the task that it began with
  source blob,                       -- where it began, as shares go; null on this machine
  ends_at integer not null,
  data blob not null
) strict;
create unique index session_mac on session (mac);
create index session_begun_by on session (begun_by);
create index session_source on session (source) where source is not null;
create index session_end on session (ends_at);

-- Endpoints of webhooks; all of them are in the writer's memory.
create table endpoint (
  id integer primary key,
  tenant_id integer not null,
  waiting integer not null,          -- deliveries that wait for it
  data blob not null
) strict;

-- What is told to an endpoint of an entry of the log, or at a place in its order that no entry has. A row
-- that waits becomes an internal task, whose id is made of the key, and stays as long as that. Numbers of
-- tasks' own webhooks are negative.
create table delivery (
  endpoint integer not null,
  pos integer not null,
  n integer,                         -- the task it tells of, while that is there
  tenant_id integer not null,
  at integer not null,
  waits integer,                     -- 1 until it is a task
  data blob,                         -- what is told, where no entry is at `pos`
  primary key (endpoint, pos)
) strict, without rowid;
create index delivery_waits on delivery (endpoint, pos) where waits is not null;
create index delivery_task on delivery (n, pos, endpoint) where n is not null;

-- Nodes: processes of Relais that run attempts of their own.
create table node (
  id integer primary key,
  format integer not null,           -- the newest format of rows that it reads
  beat_at integer not null,          -- its last sign of life
  dead_at integer not null           -- when it is dead, unless it gives another
) strict;

create table counter (
  name text primary key,
  value integer not null
) strict, without rowid;
