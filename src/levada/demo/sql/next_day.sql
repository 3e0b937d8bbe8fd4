-- One more day in the shop: the variable `day` counts them from 1. Everything follows from the customer numbers, nothing from chance.

begin transaction;

update as_of set moment = moment + interval 1 day;

-- one in 97 known customers buys again, and five new ones find the shop
insert into order_lines
with buyers as (
    select customer_id::integer as customer_id, any_value(country) as country
    from order_lines
    where customer_id is not null and customer_id % 97 = (getvariable('day') * 13) % 97
    group by all
    having count(distinct country) = 1
    union all
    select (18300 + getvariable('day') * 10 + place)::integer, ['United Kingdom', 'Portugal', 'France', 'Germany', 'Italy'][1 + place]
    from range(5) as newcomers(place)
),
shelf as (
    select stock_code, description, price, row_number() over (order by times_sold desc, stock_code) - 1 as place
    from products
    where price > 0 and description is not null
)
select
    'D' || getvariable('day') || '-' || customer_id as invoice_no,
    stock_code,
    description,
    (1 + (customer_id + item) % 24)::integer as quantity,
    moment - to_minutes((customer_id * 7) % 480) as invoice_at,
    price::decimal(10, 3) as unit_price,
    customer_id,
    country
from buyers
cross join range(4) as basket(item)
cross join as_of
join shelf on shelf.place = (customer_id * 31 + item * 17) % 200;

-- accounts that turn out to be one person are merged: the order lines move to the neighbour's number
update order_lines
set customer_id = merged.into_id
from (
    select customer_id as from_id, (
        select min(other.customer_id) from order_lines as other where other.customer_id > gone.customer_id
    ) as into_id
    from (select distinct customer_id from order_lines where customer_id % 601 = getvariable('day') and customer_id < 18000) as gone
) as merged
where order_lines.customer_id = merged.from_id;

commit;
