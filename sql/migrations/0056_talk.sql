-- 0056: one talker per device, whatever node the request came to.

set role mdvr_owner;

-- channel 0: the intercom, which belongs to no camera

alter table mdvr.video_session drop constraint video_session_channel_check;
alter table mdvr.video_session add constraint video_session_channel_check check (channel between 0 and 64);

-- the lock: an open row; one that is past its token is ended before it counts

create unique index video_session_talk on mdvr.video_session (device_id) where kind = 'talk' and ended_at is null;

create function mdvr.talk_claim(p_device_id uuid, p_node text, p_expires_at timestamptz, p_session_id uuid, p_force boolean,
    out verdict text, out id uuid, out holder text, out since timestamptz, out node text)
language plpgsql
as $$
declare
    v mdvr.video_session;
begin
    perform from mdvr.device d where d.id = p_device_id for update;

    select x.* into v from mdvr.video_session x
     where x.device_id = p_device_id and x.kind = 'talk' and x.ended_at is null;

    if found and v.expires_at <= now() then
        perform mdvr.video_session_end(v.id, 'expired', 0);

    elsif found and not p_force then
        select coalesce(nullif(u.name, ''), u.email::text) into holder from mdvr.user u where u.id = v.user_id;
        holder := coalesce(holder, 'an API key');
        id := v.id;
        since := v.started_at;
        node := v.node;
        verdict := case when v.session_id = p_session_id then 'own' else 'busy' end;
        return;

    elsif found then
        perform mdvr.video_session_end(v.id, 'replaced', 0);
        holder := v.id::text;
    end if;

    id := mdvr.video_session_start(p_device_id, 0, 'main', p_node, p_expires_at, p_session_id, 'talk');
    verdict := 'new';
    node := p_node;
end
$$;

comment on function mdvr.talk_claim is
    'Begins a talk. verdict new: id, and holder is the session it took the place of; own, busy: who talks, since when and where';
grant execute on function mdvr.talk_claim to mdvr_api;

reset role;
