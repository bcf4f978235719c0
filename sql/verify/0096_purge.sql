do $$
begin
    assert has_function_privilege('mdvr_worker', 'mdvr.media_purge_claim()', 'execute'), 'media_purge_claim';
    assert not has_function_privilege('public', 'mdvr.media_purge_claim()', 'execute'), 'it is not public';
    assert exists (select from information_schema.columns
                    where table_schema = 'mdvr' and table_name = 'media' and column_name = 'purging_at'), 'media.purging_at';
end
$$;
