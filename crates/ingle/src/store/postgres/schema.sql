-- The table in which ingle keeps sessions, one row each. Run it as who may create in the schema:
--
--     psql --set ON_ERROR_STOP=1 --file schema.sql DATABASE
--     GRANT SELECT, INSERT, UPDATE, DELETE ON ingle_sessions TO the_app;
--
-- It may be run again, and by several at once. For a table with another name, replace
-- `ingle_sessions` everywhere.
BEGIN;
SET LOCAL lock_timeout = '30s';
SET LOCAL statement_timeout = '60s';

-- One at a time; the number is nobody else's.
SELECT pg_advisory_xact_lock(7595436763713);

-- Another version's table is left alone, and so is another program's.
DO $check$
BEGIN
    IF to_regclass('ingle_sessions') IS NOT NULL
        AND obj_description(to_regclass('ingle_sessions'), 'pg_class')
            IS DISTINCT FROM 'sessions of ingle, schema 1'
    THEN
        RAISE EXCEPTION 'the table is not one of ingle''s, or of another version of it';
    END IF;
END
$check$;

-- Every commit writes a new version of its row. That stays within the row's page, and touches no
-- index (a "HOT update"), where the page has room for it and no indexed column changes.
CREATE TABLE IF NOT EXISTS ingle_sessions (
    -- SHA-256 of namespace and id. No cookie can be made of it.
    key               bytea PRIMARY KEY,
    -- What the app keeps. Change it as you like: see the trigger below.
    data              jsonb NOT NULL CONSTRAINT data_is_an_object CHECK (jsonb_typeof(data) = 'object'),
    -- Whom the session is logged in for.
    user_name         text,
    -- Since when, and how.
    login             jsonb,
    created           timestamptz(3) NOT NULL,
    -- The session is over when either has passed, be the row still there or not.
    idle_deadline     timestamptz(3) NOT NULL,
    absolute_deadline timestamptz(3) NOT NULL,
    -- How far ahead a commit moves the idle deadline, where the session has a time of its own.
    idle_timeout_ms   bigint,
    -- What the library tells commits apart by: the name of the row's life, how many commits it had,
    -- and the names of the last 16, 8 bytes each.
    epoch             bigint NOT NULL,
    counter           bigint NOT NULL,
    ops               bytea NOT NULL,
    format            smallint NOT NULL,
    -- Where this is true there is no session: it is the mark that a renew or a logout leaves under the
    -- old key until the deadlines above. After a renew it has the new key.
    is_mark           boolean NOT NULL DEFAULT false,
    moved_to          bytea CONSTRAINT only_a_mark_moved CHECK (is_mark OR moved_to IS NULL),
    -- When a sweep looks at this row next; never later than it dies. A commit moves the deadline and
    -- not this, so that the index below need not be written each time.
    sweep_at          timestamptz(3) NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX IF NOT EXISTS ingle_sessions_to_sweep ON ingle_sessions (sweep_at);
CREATE INDEX IF NOT EXISTS ingle_sessions_by_user ON ingle_sessions (user_name, key)
    WHERE user_name IS NOT NULL;

-- The library moves the counter with every commit; who edits a row by hand does not. Without this,
-- a request that knows the row from before would write over the edit.
CREATE OR REPLACE FUNCTION ingle_sessions_edited() RETURNS trigger LANGUAGE plpgsql AS $edited$
BEGIN
    NEW.counter := OLD.counter + 1;
    NEW.sweep_at := least(NEW.sweep_at, NEW.idle_deadline, NEW.absolute_deadline);
    RETURN NEW;
END
$edited$;

DROP TRIGGER IF EXISTS an_edit_by_hand_is_a_commit ON ingle_sessions;
CREATE TRIGGER an_edit_by_hand_is_a_commit
    BEFORE UPDATE OF data, user_name, login, created, absolute_deadline, idle_timeout_ms
    ON ingle_sessions
    FOR EACH ROW
    -- A commit of the library's has a new op.
    WHEN (NEW.counter = OLD.counter AND NEW.ops = OLD.ops AND NEW.epoch = OLD.epoch)
    EXECUTE FUNCTION ingle_sessions_edited();

COMMENT ON TABLE ingle_sessions IS 'sessions of ingle, schema 1';

COMMIT;
