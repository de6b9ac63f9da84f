-- The rate of a lane. A lane that has started as many tasks as it may leaves the order of lanes until it
-- may start the next, so that a claim does not meet it.

alter table lane add column full_at integer;   -- microseconds: when its bucket is full again; null if it is
alter table lane add column free_at integer;   -- when it may start again; null if it may
create index lane_free on lane (pool_id, free_at) where free_at is not null and ready > 0;
