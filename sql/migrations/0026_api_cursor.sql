-- 0026: a cursor that is too short is refused instead of ending the list.

set role mdvr_owner;

create or replace function mdvr.cursor_time(p_cursor text) returns timestamptz
language sql immutable parallel safe
as $$
    select case when length(p_cursor) >= 18
                then timestamptz 'epoch' + ('x' || substr(p_cursor, 1, 16))::bit(64)::bigint * interval '1 microsecond'
                else (p_cursor || ' is no cursor')::timestamptz end
$$;

reset role;
