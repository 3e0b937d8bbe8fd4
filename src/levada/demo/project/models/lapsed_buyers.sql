/*
source: warehouse
key: customer_id
description: Good customers who have not ordered for half a year. They shall see an advertisement.
columns:
  email: {personal: email}
*/
select customer_id, any_value(email) as email
from customers
group by customer_id
having sum(lifetime_value) >= 250 and min(recency_days) > 180
