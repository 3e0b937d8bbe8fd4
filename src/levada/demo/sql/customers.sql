-- What the nightly job of the shop makes of its order lines.

create or replace table orders as
select
    invoice_no,
    any_value(customer_id) as customer_id,
    any_value(country) as country,
    min(invoice_at) as ordered_at,
    count(*) as lines,
    sum(quantity * unit_price)::decimal(12, 2) as total,
    invoice_no like 'C%' as is_return
from order_lines
group by invoice_no
order by ordered_at, invoice_no;

create or replace table customers as
with bought as (
    select customer_id, products.description, sum(quantity) as pieces
    from order_lines join products using (stock_code)
    where customer_id is not null and quantity > 0 and unit_price > 0
    group by all
),
favourites as (
    select customer_id, list(description order by pieces desc, description) as favourite_products
    from (
        select *, row_number() over (partition by customer_id order by pieces desc, description) as place
        from bought
        where description is not null
    )
    where place <= 3
    group by customer_id
),
-- by customer and country: this is where those who moved get two rows
accounts as (
    select
        customer_id::integer as customer_id,
        country,
        sum(quantity * unit_price)::decimal(12, 2) as lifetime_value,
        count(distinct invoice_no) filter (quantity > 0) as orders,
        min(invoice_at) as first_order_at,
        max(invoice_at) as last_order_at
    from order_lines
    where customer_id is not null
    group by all
)
select
    accounts.customer_id,
    email,
    first_name,
    last_name,
    case when country = 'United Kingdom' then phone end as phone,
    country,
    lifetime_value,
    orders,
    first_order_at,
    last_order_at,
    date_diff('day', last_order_at, moment)::integer as recency_days,
    coalesce(favourite_products, []) as favourite_products
from accounts
join people using (customer_id)
left join favourites using (customer_id)
cross join as_of
order by customer_id, country;
