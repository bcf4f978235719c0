do $$
begin
    begin
        perform mdvr.cursor_time('00');
        assert false, 'a short cursor is refused';
    exception when invalid_datetime_format then
        null;
    end;
end
$$;
