-- 0025: a test event for a webhook.

set role mdvr_definer;

-- The worker delivers what is queued; purpose 'test' has no event behind it.

create function mdvr.webhook_test(p_webhook_id uuid) returns uuid
language sql security definer set search_path = pg_catalog, pg_temp
as $$
    insert into mdvr.delivery (tenant_id, webhook_id, purpose, dedupe_key)
    select w.tenant_id, w.id, 'test', 'test:' || mdvr.uuid7()
      from mdvr.webhook w
     where w.id = p_webhook_id
       and w.tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid
    returning id
$$;

comment on function mdvr.webhook_test(uuid) is 'Queues a test delivery; NULL when the tenant has no such webhook';
grant execute on function mdvr.webhook_test(uuid) to mdvr_api;

reset role;
set role mdvr_owner;
grant select on mdvr.webhook to mdvr_definer;
grant insert on mdvr.delivery to mdvr_definer;
reset role;
