do $$
begin
    assert mdvr.command_body_text('\x4142') = 'AB', 'text stays text';
    assert mdvr.command_body_bytes(mdvr.command_body_text('\xc4e3')) = '\xc4e3', 'other bytes come back';
    assert mdvr.command_body_bytes(mdvr.command_body_text('\x5c7834')) = '\x5c7834', 'and what looks like hex';
end
$$;
