-- 0068: the storage of a plan.  Who asks for more than it holds is told so; what
-- devices send of their alarms is evidence and is kept.

set role mdvr_definer;

create function mdvr.quota_storage() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    most bigint;
begin
    select p.max_storage_bytes into most from mdvr.plan p where p.tenant_id = new.tenant_id;

    if most <= (select coalesce(sum(m.stored_bytes), 0)
                  from mdvr.media m
                 where m.tenant_id = new.tenant_id and m.deleted_at is null)
    then
        raise exception 'the plan allows % bytes of storage', most using errcode = 'MD409', detail = 'quota_exceeded';
    end if;

    return new;
end
$$;

grant execute on function mdvr.quota_storage() to mdvr_owner;

reset role;
set role mdvr_owner;

create trigger quota_storage before insert on mdvr.download
    for each row when (new.origin = 'user') execute function mdvr.quota_storage();
create trigger quota_storage before insert on mdvr.command
    for each row when (new.type = 'snapshot') execute function mdvr.quota_storage();

reset role;
