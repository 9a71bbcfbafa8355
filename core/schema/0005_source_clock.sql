-- When a source's position last moved, by the hub's own clock; empty until it first does.
ALTER TABLE hub.source_offset ALTER COLUMN updated_at DROP NOT NULL, ALTER COLUMN updated_at DROP DEFAULT;
