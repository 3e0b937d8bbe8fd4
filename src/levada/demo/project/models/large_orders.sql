/*
source: warehouse
key: invoice_no
description: Orders of the last day that somebody should look at.
*/
select invoice_no, customer_id, country, ordered_at, lines, total
from orders, as_of
where total >= 250 and not is_return and ordered_at > moment - interval 1 day
