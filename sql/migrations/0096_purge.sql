-- 0096: a legal hold and a purge decide about an item one after the other.  An
-- item is claimed before its objects go: in one transaction, with its alarm and
-- its tenant locked, so that no hold that was set before is missed.  Who is
-- setting one at that moment goes first.  A worker that died leaves a claim that
-- runs out; holds count again then.  Caller: worker.

set role mdvr_owner;

alter table mdvr.media add column purging_at timestamptz;
comment on column mdvr.media.purging_at is 'When a worker began to remove its objects';

reset role;
set role mdvr_definer;

create function mdvr.media_purge_claim(out tenant_id uuid, out media_id uuid)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    lease constant interval := interval '5 minutes';
    m record;
begin
    for m in
        select x.id, x.tenant_id, x.alarm_id
          from mdvr.media x
         where x.deleted_at is not null and x.purged_at is null and not x.legal_hold
           and (x.purging_at is null or x.purging_at < now() - lease)
         order by x.deleted_at
           for update skip locked
    loop
        perform from mdvr.tenant t where t.id = m.tenant_id and not t.legal_hold for share skip locked;
        continue when not found;

        if m.alarm_id is not null then
            perform from mdvr.alarm a where a.id = m.alarm_id and not a.legal_hold for share skip locked;
            continue when not found;
        end if;

        update mdvr.media set purging_at = now() where id = m.id;
        tenant_id := m.tenant_id;
        media_id := m.id;
        return;
    end loop;
end
$$;

comment on function mdvr.media_purge_claim() is
    'A deleted media item that is under no legal hold and whose objects the caller removes now, within 5 minutes; NULLs: there is none';

comment on function mdvr.media_doomed(integer) is
    'Deleted media items whose objects are still there; workers use media_purge_claim()';

grant execute on function mdvr.media_purge_claim() to mdvr_worker;

reset role;
