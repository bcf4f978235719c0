-- 0012: what the worker needs beside its jobs.

set role mdvr_owner;

create table mdvr.schedule (
    name     text         primary key check (name ~ '^[a-z_]{1,40}$'),
    last_at  timestamptz  not null
);

comment on table mdvr.schedule is 'When each scheduled task last ran, whichever worker ran it. Platform table, no tenant.';
call mdvr.protect('mdvr.schedule', 'none');
grant select, insert, update on mdvr.schedule to mdvr_definer;

-- Says which transaction changed a media item, so that its event is written once.

alter table mdvr.media add column updated_at timestamptz not null default now();

reset role;
set role mdvr_definer;

create function mdvr.schedule_claim(p_name text, p_every_s integer) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if not pg_try_advisory_xact_lock(5571, hashtext(p_name)) then
        return false;                               -- another worker is at it
    end if;

    insert into mdvr.schedule as s (name, last_at) values (p_name, now())
    on conflict (name) do update set last_at = now()
     where s.last_at <= now() - make_interval(secs => p_every_s);

    return found;
end
$$;

comment on function mdvr.schedule_claim(text, integer) is
    'True for one caller each p_every_s seconds; the transaction that gets it does the work';
grant execute on function mdvr.schedule_claim(text, integer) to mdvr_worker;

reset role;
