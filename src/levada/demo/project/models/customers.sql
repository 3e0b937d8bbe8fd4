/*
source: warehouse
key: customer_id
description: Everyone who ever ordered, with what the service team wants to see at once.
columns:
  email: {personal: email}
  first_name: {personal: name}
  last_name: {personal: name}
  phone: {personal: phone}
*/
select
    customer_id,
    email,
    first_name,
    last_name,
    phone,
    country,
    lifetime_value,
    orders,
    last_order_at,
    favourite_products,
    case when recency_days > 180 then 'lapsed' when recency_days > 60 then 'cooling' else 'active' end as segment
from customers
