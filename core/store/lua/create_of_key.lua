-- As `create`, for work of a key: within its limits, and with its place among others' work.
-- ARGV: as there -> as there | 'limit', its name, itself, what there is, seconds to wait
return create_work(limit_reached, told_position)
