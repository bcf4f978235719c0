-- 0024: whoever signs out stops watching.

set role mdvr_definer;

create or replace function mdvr.session_end(p_session_id uuid, p_reason text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    ended boolean;
    v     uuid;
begin
    update mdvr.session
       set revoked_at = clock_timestamp(), revoke_reason = left(p_reason, 64)
     where id = p_session_id and revoked_at is null;

    ended := found;

    for v in select x.id from mdvr.video_session x where x.session_id = p_session_id and x.ended_at is null loop
        perform mdvr.video_session_end(v, p_reason, 0);
    end loop;

    return ended;
end
$$;

reset role;
set role mdvr_owner;

create index video_session_session on mdvr.video_session (session_id) where ended_at is null;

reset role;
