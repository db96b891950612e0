-- May row-level security stand between this role and the rows? Asked by what the role is: security may be switched on later.
SELECT coalesce(
    (SELECT row_security_active(c.oid) OR NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
     FROM pg_catalog.pg_class AS c WHERE c.oid = to_regclass('public.notifications')), true
) AND NOT (SELECT r.rolsuper OR r.rolbypassrls FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user)
